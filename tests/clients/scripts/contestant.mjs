// The JS SDK as a contestant of the fault suite: a question a line, an answer a line.
//   {"id", "api": "v2" | "v2 resumable" | "v3", "url", "thread", "question", "seconds", "sleeps",
//    "stop", "leave", "approvals"}
//   {"id", "texts": {<message id>: <text>}, "error"}
// The reader sleeps `seconds` after each of the first `sleeps` pieces. Over v3 it also stops the run
// after `stop` pieces, or closes its stream after `leave` and has another client read the thread
// from its beginning; it approves as often as it is asked.
import { createInterface } from "node:readline";
import { Client } from "@langchain/langgraph-sdk";

console.warn = console.error = () => {};
process.on("unhandledRejection", () => {});

async function readV2(asked, client, input, keep) {
  const streamResumable = asked.api === "v2 resumable";
  const options = { input, streamMode: "messages-tuple", streamResumable };
  for await (const part of client.runs.stream(asked.thread, "agent", options)) {
    if (part.event === "error") throw new Error(JSON.stringify(part.data));
    if (part.event !== "messages" || part.data[0].type !== "AIMessageChunk") continue;
    await keep(part.data[0].id, part.data[0].content);
  }
}

// Returns whether the reader has left before the end.
async function followV3(asked, input, texts, keep) {
  const client = new Client({ apiUrl: asked.url });
  const thread = client.threads.stream(asked.thread, { assistantId: "agent" });
  let runId, leave;
  const failed = new Promise((_, fail) => thread.onError(fail));
  const left = new Promise((go) => (leave = () => go(true)));
  failed.catch(() => {});
  const first = async (promise) => Promise.race([promise, failed, left]);
  const reading = async () => {
    for (const id in texts) delete texts[id]; // each loop tells of all messages again
    for await (const message of thread.messages) {
      if (message.namespace.length) continue; // a tool's
      for await (const text of message.text) {
        const pieces = await keep(message.id, text);
        if (input && pieces === asked.stop) await client.runs.cancel(asked.thread, runId);
        if (input && pieces === asked.leave) leave();
      }
      const { error } = message.assembled; // "aborted" is what the SDK calls a message without end
      if (error && error.code !== "aborted") delete texts[message.id];
    }
  };
  try {
    for (let waits = asked.approvals; waits >= 0; waits -= 1) {
      const read = reading();
      read.catch(() => {});
      if (input && waits === asked.approvals) {
        const started = await first(thread.run.start({ input }));
        runId = started.run_id;
      }
      const output = waits ? read : thread.output;
      if ((await first(output)) === true) return true;
      if ((await first(read)) === true) return true;
      if (waits) {
        const { interruptId, namespace } = thread.interrupts.at(-1);
        const response = { decisions: [{ type: "approve" }] };
        await first(thread.input.respond({ interrupt_id: interruptId, namespace, response }));
      }
    }
    return false;
  } finally {
    await thread.close();
  }
}

async function read(asked, texts) {
  const input = { messages: [{ type: "human", content: asked.question }] };
  let pieces = 0;
  const keep = async (id, text) => {
    texts[id] = (texts[id] ?? "") + text;
    pieces += 1;
    if (pieces <= asked.sleeps) await new Promise((go) => setTimeout(go, 1000 * asked.seconds));
    return pieces;
  };
  if (asked.api !== "v3") {
    await readV2(asked, new Client({ apiUrl: asked.url }), input, keep);
  } else if (await followV3(asked, input, texts, keep)) {
    await followV3(asked, undefined, texts, keep);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const texts = {};
  const answer = (error) => console.log(JSON.stringify({ id: asked.id, texts, error }));
  read(asked, texts).then(
    () => answer(""),
    (error) => answer(`${error?.name}: ${error?.message}`),
  );
}
