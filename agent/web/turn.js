// A turn of the conversation, in either of the ways that it can be asked for.

import { byId } from "/page/dom.js";
import { overSocket, overSse } from "/page/stream.js";

const ROUTES = {
  message: "/agent/stream",
  regenerate: "/agent/regenerate",
  resume: "/agent/resume",
  decide: "/agent/decide",
};

// The kinds are those of the WebSocket's frames, where a message's words are its `content`.
export function begin(kind, threadId, { message, ...fields }) {
  if (byId("transport").value === "websocket") {
    return overSocket(threadId, { type: kind, ...(message ? { content: message } : {}), ...fields });
  }
  const place = threadId ? { thread_id: threadId } : {};
  return overSse(ROUTES[kind], { ...place, ...(message ? { message } : {}), ...fields });
}

export const join = (threadId, runId) => overSse(`/agent/stream/${threadId}/${runId}`);
