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

// The threads that were changed last, at most `count` of them.
export async function threads(count) {
  const found = [];
  while (found.length < count) {
    const limit = Math.min(count - found.length, MOST_IN_ONE_ANSWER);
    const body = {
      limit,
      offset: found.length,
      sort_by: "updated_at",
      sort_order: "desc",
      select: ["thread_id", "updated_at", "status", "metadata", "interrupts"],
      extract: { title: "values.messages[0].content" },
    };
    const page = await requestJson("/threads/search", { method: "POST", body, priority: "low" });
    found.push(...page);
    if (page.length < limit) break;
  }
  return found;
}

// A thread without its state: small, however long it is.
export async function thread(threadId) {
  const body = { ids: [threadId], limit: 1, select: ["updated_at", "status", "metadata"] };
  const [found] = await requestJson("/threads/search", { method: "POST", body, priority: "low" });
  return found ?? {};
}

export const setMetadata = (threadId, metadata) =>
  requestJson(`/threads/${threadId}`, { method: "PATCH", body: { metadata } });

// Without a checkpoint's id, the present one.
export const state = (threadId, checkpointId) =>
  requestJson(`/threads/${threadId}/state${checkpointId ? `/${checkpointId}` : ""}`);

// Makes an earlier state, of any branch, the present one.
export const goTo = (threadId, checkpointId) =>
  requestJson(`/threads/${threadId}/state`, { method: "POST", body: { values: null, checkpoint_id: checkpointId } });

// The checkpoints of all branches, newest first.
export const history = (threadId) =>
  requestJson(`/threads/${threadId}/history`, { method: "POST", body: { limit: 100 } });
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
