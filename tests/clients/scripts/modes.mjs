// The JS SDK: a run in each stream mode, one line of what arrived.
//   modes.mjs URL QUESTION
import { Client } from "@langchain/langgraph-sdk";

const [apiUrl, question] = process.argv.slice(2);
const client = new Client({ apiUrl });
const input = { messages: [{ type: "human", content: question }] };
const modes = [
  "values", "updates", "messages", "messages-tuple", "events", "debug", "tasks", "checkpoints",
  "custom",
];

for (const streamMode of modes) {
  const { thread_id: threadId } = await client.threads.create();
  const names = new Set();
  let text = "";
  for await (const part of client.runs.stream(threadId, "agent", { input, streamMode })) {
    names.add(part.event);
    if (part.event === "messages") {
      const [message] = part.data;
      if (message.type === "AIMessageChunk") text += message.content;
    } else if (part.event === "messages/partial") {
      text = part.data.at(-1).content;
    } else if (part.event === "values") {
      text = part.data.messages.at(-1).content;
    } else if (part.event === "updates" && part.data.model) {
      text = part.data.model.messages.at(-1).content;
    } else if (part.event === "events" && part.data.event === "on_chat_model_stream") {
      text += part.data.data.chunk.content;
    }
  }
  const state = await client.threads.getState(threadId);
  const kept = state.values.messages.at(-1).content;
  console.log(JSON.stringify({ mode: streamMode, names: [...names], text, kept }));
}
