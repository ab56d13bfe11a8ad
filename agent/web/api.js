// Requests to the server. Every header is made here.

import { askForToken, token } from "./token.js";

// Where the server is: the page may be served under a path.
const BASE = new URL("..", import.meta.url);
export const urlOf = (path) => new URL(`.${path}`, BASE);

export class RequestError extends Error {
  // `body` is the server's answer, as far as it is JSON: { error or detail, code }.
  constructor(status, body, retryAfterSeconds = 0) {
    const message = body.error ?? body.detail;
    super(message ?? `The server answered with status ${status}.`);
    this.status = status;
    this.code = body.code ?? String(status);
    this.hasServerMessage = message !== undefined;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export function headers(more = {}) {
  return { ...(token() ? { Authorization: `Bearer ${token()}` } : {}), ...more };
}

// The response; throws RequestError.
// The `priority` is the browser's, for when it has no connection left.
export async function request(path, { method = "GET", body, more = {}, signal, priority } = {}) {
  const response = await fetch(urlOf(path), {
    method,
    priority,
    signal,
    headers: headers(body === undefined ? more : { "Content-Type": "application/json", ...more }),
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response;
  const retryAfterSeconds = Number(response.headers.get("Retry-After")) || 0;
  const error = new RequestError(response.status, await response.json().catch(() => ({})), retryAfterSeconds);
  if (response.status === 401) askForToken(error.message);
  throw error;
}

async function requestJson(path, options) {
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

const MOST_IN_ONE_ANSWER = 1000; // threads
const FIELDS = ["thread_id", "updated_at", "status", "metadata", "interrupts"];
let takesFields = true; // Aegra refuses to be told which, and has no states with its threads

// What `ask` gives with the fields of a thread that are wanted, or without, where they are refused.
async function withFields(ask) {
  const isTold = takesFields;
  try {
    return await ask(isTold);
  } catch (error) {
    if (error.status !== 422 || !isTold) throw error;
    takesFields = false;
    return ask(false);
  }
}

const searchThreads = (body) => requestJson("/threads/search", { method: "POST", body, priority: "low" });

// The threads that were changed last, at most `count` of them.
export async function threads(count) {
  const found = [];
  while (found.length < count) {
    const limit = Math.min(count - found.length, MOST_IN_ONE_ANSWER);
    const body = { limit, offset: found.length, sort_by: "updated_at", sort_order: "desc" };
    const page = await withFields((isTold) => searchThreads(isTold ? { ...body, select: FIELDS } : body));
    found.push(...page);
    if (page.length < limit) break;
  }
  return found;
}

// The content of each thread's first message, by its id, where there is one: it may hold images.
export async function firstContents(threadIds) {
  const found = new Map();
  for (let at = 0; takesFields && at < threadIds.length; at += MOST_IN_ONE_ANSWER) {
    const ids = threadIds.slice(at, at + MOST_IN_ONE_ANSWER);
    const body = { ids, limit: ids.length, select: ["thread_id"], extract: { content: "values.messages[0].content" } };
    for (const { thread_id: id, extracted } of await searchThreads(body)) if (extracted.content) found.set(id, extracted.content);
  }
  return found;
}

// A thread without its state: small, however long it is.
export const thread = (threadId) =>
  withFields(async (isTold) => {
    if (!isTold) return requestJson(`/threads/${threadId}`, { priority: "low" });
    const [found] = await searchThreads({ ids: [threadId], limit: 1, select: FIELDS });
    return found ?? {};
  });

export const setMetadata = (threadId, metadata) =>
  requestJson(`/threads/${threadId}`, { method: "PATCH", body: { metadata } });

// The present one.
export const state = (threadId) => requestJson(`/threads/${threadId}/state`);

// The present one or an earlier one, with the ids and types of its messages in their place.
export const outline = (threadId, checkpointId) =>
  requestJson(`/threads/${threadId}/state${checkpointId ? `/${checkpointId}` : ""}`, {
    more: { "Steady-Outline-After": "" },
  });

// Makes an earlier state, of any branch, the present one.
export const goTo = (threadId, checkpointId) =>
  requestJson(`/threads/${threadId}/state`, { method: "POST", body: { values: null, checkpoint_id: checkpointId } });

// The checkpoints of all branches, newest first; with `select`, these fields of each.
export const history = (threadId, limit, select) =>
  requestJson(`/threads/${threadId}/history`, { method: "POST", body: { limit, select }, priority: "low" });
export const deleteThread = (threadId) => requestJson(`/threads/${threadId}`, { method: "DELETE" });

// The thread's run that goes on now, if there is one.
export async function activeRun(threadId) {
  const runs = await requestJson(`/threads/${threadId}/runs?limit=5`);
  return runs.find((run) => ["pending", "running"].includes(run.status));
}

export const stop = (threadId, runId) =>
  requestJson("/agent/stop", { method: "POST", body: { thread_id: threadId, run_id: runId }, priority: "high" });

// What the agent remembers of the person, newest first.
export async function memories() {
  const body = { namespace_prefix: ["memories"], limit: 500 };
  const { items } = await requestJson("/store/items/search", { method: "POST", body });
  return items.sort((one, other) => (one.value.at < other.value.at ? 1 : -1));
}

export const forget = (key) =>
  requestJson("/store/items", { method: "DELETE", body: { namespace: ["memories"], key } });

// How the page presents the agent: { name, introduction, examples }.
export const about = () => requestJson("/page/about.json");

export const assistants = () => requestJson("/assistants/search", { method: "POST", body: { limit: 100 } });
export const graph = (assistantId) => requestJson(`/assistants/${assistantId}/graph`);

// The names of what a run of the assistant may choose for itself.
export async function contextFields(assistantId) {
  const { context_schema: schema } = await requestJson(`/assistants/${assistantId}/schemas`);
  return Object.keys(schema?.properties ?? {});
}
