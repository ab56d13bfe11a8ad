// Requests to the server. Every header is made here.

import { askForToken, token } from "/page/token.js";

export class Refused extends Error {
  // `told` is what the server said, as far as it said anything: { error or detail, code }.
  constructor(status, told, retryAfterSeconds = 0) {
    const words = told.error ?? told.detail;
    super(words ?? `The server answered with status ${status}.`);
    this.status = status;
    this.code = told.code ?? String(status);
    this.isTold = words !== undefined;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export function headers(more = {}) {
  return { ...(token() ? { Authorization: `Bearer ${token()}` } : {}), ...more };
}

// The response, or Refused with what the server said.
export async function request(path, { method = "GET", body, more = {}, signal } = {}) {
  const response = await fetch(path, {
    method,
    signal,
    headers: headers(body === undefined ? more : { "Content-Type": "application/json", ...more }),
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const refused = new Refused(response.status, told, Number(response.headers.get("Retry-After")) || 0);
  if (response.status === 401) askForToken(refused.message);
  throw refused;
}

async function answer(path, options) {
  const response = await request(path, options);
  return response.status === 204 ? null : response.json();
}

export const threads = () =>
  answer("/threads/search", {
    method: "POST",
    body: {
      limit: 50,
      sort_by: "updated_at",
      sort_order: "desc",
      select: ["thread_id", "updated_at", "status"],
      extract: { title: "values.messages[0].content" },
    },
  });

// What changes when the thread does, and is small however long the thread is.
export async function news(threadId) {
  const body = { ids: [threadId], limit: 1, select: ["updated_at", "status"] };
  const [thread] = await answer("/threads/search", { method: "POST", body });
  return `${thread?.updated_at} ${thread?.status}`;
}

export const state = (threadId) => answer(`/threads/${threadId}/state`);

// The checkpoints of all branches, newest first.
export const history = (threadId) =>
  answer(`/threads/${threadId}/history`, { method: "POST", body: { limit: 100 } });
export const deleteThread = (threadId) => answer(`/threads/${threadId}`, { method: "DELETE" });

// The thread's run that goes on now, if there is one.
export async function activeRun(threadId) {
  const runs = await answer(`/threads/${threadId}/runs?limit=5`);
  return runs.find((run) => ["pending", "running"].includes(run.status));
}

export const stop = (threadId, runId) =>
  answer("/agent/stop", { method: "POST", body: { thread_id: threadId, run_id: runId } });

// What the agent remembers of the person, newest first.
export async function memories() {
  const body = { namespace_prefix: ["memories"], limit: 500 };
  const { items } = await answer("/store/items/search", { method: "POST", body });
  return items.sort((one, other) => (one.value.at < other.value.at ? 1 : -1));
}

export const forget = (key) =>
  answer("/store/items", { method: "DELETE", body: { namespace: ["memories"], key } });

export async function graph(graphId) {
  const body = { graph_id: graphId, limit: 1 };
  const [assistant] = await answer("/assistants/search", { method: "POST", body });
  return answer(`/assistants/${assistant.assistant_id}/graph`);
}
