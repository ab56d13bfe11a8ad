// The JS SDK as a contestant of the fault suite: a question a line, an answer a line.
//   {"id", "api": "v2" | "v2 resumable" | "v3", "url", "thread", "question", "seconds", "sleeps"}
//   {"id", "texts": {<message id>: <text>}, "error"}
// The reader sleeps `seconds` after each of the first `sleeps` pieces.
import { createInterface } from "node:readline";
import { Client } from "@langchain/langgraph-sdk";

console.warn = console.error = () => {};
process.on("unhandledRejection", () => {});

async function read(asked, texts) {
  const client = new Client({ apiUrl: asked.url });
  const input = { messages: [{ type: "human", content: asked.question }] };
  let pieces = 0;
  const keep = async (id, text) => {
    texts[id] = (texts[id] ?? "") + text;
    pieces += 1;
    if (pieces <= asked.sleeps) await new Promise((go) => setTimeout(go, 1000 * asked.seconds));
  };
  if (asked.api !== "v3") {
    const streamResumable = asked.api === "v2 resumable";
    const options = { input, streamMode: "messages-tuple", streamResumable };
    for await (const part of client.runs.stream(asked.thread, "agent", options)) {
      if (part.event === "error") throw new Error(JSON.stringify(part.data));
      if (part.event !== "messages" || part.data[0].type !== "AIMessageChunk") continue;
      await keep(part.data[0].id, part.data[0].content);
    }
    return;
  }
  const thread = client.threads.stream(asked.thread, { assistantId: "agent" });
  const failed = new Promise((_, fail) => thread.onError(fail));
  failed.catch(() => {});
  const reading = (async () => {
    for await (const message of thread.messages) {
      for await (const text of message.text) await keep(message.id, text);
    }
  })();
  reading.catch(() => {});
  try {
    await Promise.race([thread.run.start({ input }), failed]);
    await Promise.race([thread.output, failed]);
    await Promise.race([reading, failed]);
  } finally {
    await thread.close();
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
