// The JS SDK's thread stream (v3), over SSE or a WebSocket: the text of an answer.
//   thread_stream.mjs URL TRANSPORT QUESTION [API_KEY]
import { Client } from "@langchain/langgraph-sdk";

const [apiUrl, transport, question, apiKey] = process.argv.slice(2);
const client = new Client({ apiUrl, apiKey });
const thread = client.threads.stream({ assistantId: "agent", transport });
let text = "";
const reading = (async () => {
  for await (const message of thread.messages) text = await message.text;
})();
const state = thread.output; // subscribed before the run: a projection opened later may miss its end
await thread.submitRun({ input: { messages: [{ type: "human", content: question }] } });
const output = await state;
await thread.close();
await Promise.race([reading, new Promise((resolve) => setTimeout(resolve, 1000))]);
const kept = output.messages.at(-1).content;
console.log(JSON.stringify({ text, kept: typeof kept === "string" ? kept : kept[0].text }));
process.exit(0);
