// A turn of the conversation, in either of the ways that it can be asked for.

import { byId } from "./dom.js";
import { overSocket, overSse } from "./stream.js";

const ROUTES = {
  message: "/agent/stream",
  regenerate: "/agent/regenerate",
  continue_run: "/agent/continue_run",
  decide: "/agent/decide",
  resume: "/agent/resume",
};

// `type` is the type of the WebSocket's frame; the fields are the same over SSE.
export function begin(type, threadId, fields) {
  if (byId("transport").value === "websocket") return overSocket(threadId, { type, ...fields });
  return overSse(ROUTES[type], { ...(threadId ? { thread_id: threadId } : {}), ...fields });
}

export const join = (threadId, runId) => overSse(`/agent/stream/${threadId}/${runId}`);
