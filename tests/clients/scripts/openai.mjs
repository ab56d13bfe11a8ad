// The AI SDK with its provider for OpenAI, pointed at this server. Prints a line of JSON each:
// a response's stream, what follows it on its thread, a response that waits for approval, a chat
// completion's stream, and what is said of a model that is not there.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText } from "ai";

const [url, tool, next, approval] = process.argv.slice(2);
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: "any" });
const after = (id) => ({ openai: { previousResponseId: id } });
const tell = (line) => console.log(JSON.stringify(line));

async function read(model, options) {
  const result = streamText({ model, maxRetries: 0, onError: () => {}, ...options });
  const kinds = [];
  let text = "";
  let reasoning = "";
  const approvals = [];
  for await (const part of result.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") text += part.text;
    if (part.type === "reasoning-delta") reasoning += part.text;
    if (part.type === "tool-approval-request") approvals.push(part.approvalId);
    if (!part.type.endsWith("delta")) kinds.push(part.type);
  }
  const id = (await result.providerMetadata)?.openai?.responseId;
  tell({ text, reasoning, kinds, approvals, finish: await result.finishReason });
  return { id, approvals };
}

const responses = openai.responses("agent");
const first = await read(responses, { prompt: tool });
await read(responses, { prompt: next, providerOptions: after(first.id) });
await read(responses, { prompt: approval });
await read(openai.chat("agent"), { prompt: tool });
try {
  await generateText({ model: openai.responses("none"), prompt: "x", maxRetries: 0 });
} catch (error) {
  tell({ status: error.statusCode, message: error.message });
}
