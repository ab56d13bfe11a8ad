// A turn of the conversation, in either of the ways that it can be asked for.

import { overEither } from "./connections.js";
import { byId } from "./dom.js";
import { newIdempotencyKey, overSocket, overSse } from "./stream.js";

const ROUTES = {
  message: "/agent/stream",
  regenerate: "/agent/regenerate",
  continue_run: "/agent/continue_run",
  decide: "/agent/decide",
  resume: "/agent/resume",
};

// `type` is the type of the WebSocket's frame; the fields are the same over SSE.
export function begin(type, threadId, fields) {
  const key = newIdempotencyKey(); // however often it is sent, one run is started
  const thread = threadId ? { thread_id: threadId } : {};
  const socket = overSocket(thread, { type, ...fields, idempotency_key: key });
  if (byId("transport").value === "websocket") return socket;
  return overEither(overSse(ROUTES[type], { ...thread, ...fields }, key), socket);
}

export const join = (threadId, runId) =>
  overEither(overSse(`/agent/stream/${threadId}/${runId}`), overSocket({ thread_id: threadId, run_id: runId }));
