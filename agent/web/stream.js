// One run's events until `done`, over SSE or a WebSocket, through as many connections as it takes.

import { RequestError, request, urlOf } from "./api.js";
import { EventDecoder } from "./server-events.js";
import { token } from "./token.js";

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8000;
const GIVE_UP_MS = 120_000;
const SILENT_MS = 45_000; // three heartbeats of the server: the connection is dead
const PING_MS = 15_000; // a WebSocket's own heartbeats are kept from the page: it asks for some

// A way to ask for a run: `open(lastEventId, signal)` yields [id, event] until the connection ends.
// `onAttempt` gets the AbortController of each connection: to give up one that hangs, not the run.
// `onLink` is called with "open", "lost" and "back"; "lost" with the server's message, where it sent one.
export async function* follow(open, { signal, onLink = () => {}, onAttempt = () => {} }) {
  let last = null;
  let delay = FIRST_DELAY_MS;
  let lostAt = null;
  for (;;) {
    let requestError = null;
    const attempt = new AbortController();
    onAttempt(attempt);
    try {
      for await (const [id, event] of open(last, AbortSignal.any([signal, attempt.signal]))) {
        // a server that stops says so; what follows is at the next one
        if (event.type === "error" && event.code === "unavailable") break;
        if (lostAt !== null || last === null) onLink(lostAt === null ? "open" : "back");
        lostAt = null;
        delay = FIRST_DELAY_MS;
        last = id ?? last;
        yield event;
        if (event.type === "done") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof RequestError) requestError = error;
      if (requestError && ![429, 502, 503, 504].includes(requestError.status)) throw requestError;
    }
    if (signal.aborted) return;
    lostAt ??= Date.now();
    const retryAfterMs = 1000 * (requestError?.retryAfterSeconds ?? 0);
    // what has not begun, and is to wait for long, is the person's to ask for again
    if (last === null && retryAfterMs > LONGEST_DELAY_MS) throw requestError;
    if (Date.now() - lostAt > GIVE_UP_MS) throw requestError ?? new Error("The server did not come back.");
    onLink("lost", requestError?.hasServerMessage ? requestError.message : null);
    await pause(Math.max(delay * (0.5 + Math.random() / 2), retryAfterMs), signal);
    delay = Math.min(2 * delay, LONGEST_DELAY_MS);
  }
}

// POST with a body and its idempotency key, or GET without one; asked again with the last event's id.
export function overSse(path, body, key) {
  return async function* (last, signal) {
    const more = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
    const options = body ? { method: "POST", body } : {};
    if (body) more["Idempotency-Key"] = key;
    const silence = new Silence();
    try {
      const response = await request(path, {
        ...options,
        more,
        signal: AbortSignal.any([signal, silence.signal]),
      });
      yield* parsed(response.body.pipeThrough(new TextDecoderStream()), silence);
    } finally {
      silence.end();
    }
  };
}

// Aborts a connection on which nothing comes for too long: from the request on, before its head too.
class Silence {
  constructor() {
    this.controller = new AbortController();
    this.signal = this.controller.signal;
    this.broken();
  }

  broken() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(), SILENT_MS);
  }

  end() {
    clearTimeout(this.timer);
  }
}

async function* parsed(texts, silence) {
  const decoder = new EventDecoder();
  const reader = texts.getReader();
  try {
    for (;;) {
      silence.broken();
      const { value, done } = await reader.read();
      if (done) return;
      yield* decoder.decode(value);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// A connection of its own for each turn, which `frame` begins; without one, `ids` are a run's to read.
// Returns whether anything came over it.
export function overSocket(ids, frame) {
  return async function* (last, signal) {
    const query = new URLSearchParams(last ? { last_event_id: last, thread_id: last.split("/")[0] } : ids);
    const protocols = token() ? ["steady.v1", `bearer.${token()}`] : ["steady.v1"];
    const url = urlOf(`/ws/chat?${query}`);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, protocols);
    const close = () => socket.close();
    signal.addEventListener("abort", close);
    const messages = messagesOf(socket);
    let isHeard = false;
    socket.addEventListener("open", () => !last && frame && socket.send(JSON.stringify(frame)));
    try {
      for await (const { event_id: id = null, ...event } of messages) {
        isHeard = true;
        if (event.type === "refused") throw new RequestError(422, { code: event.code, error: event.message });
        if (event.type !== "pong") yield [id, event];
      }
    } finally {
      signal.removeEventListener("abort", close);
      socket.close();
    }
    // a browser does not say why a handshake failed; what fails in the same way does
    if (!isHeard) await request("/threads/search", { method: "POST", body: { limit: 1 }, signal });
    return isHeard;
  };
}

// What arrives until the socket is closed, or is silent: a dead one may take minutes to close.
async function* messagesOf(socket) {
  const waiting = [];
  let wake = () => {};
  let closed = false;
  let silentMs = 0; // by the pings, not the clock: in a hidden tab they are put off
  const end = () => ((closed = true), wake());
  socket.addEventListener("message", ({ data }) => ((silentMs = 0), waiting.push(JSON.parse(data)), wake()));
  socket.addEventListener("close", end);
  const watch = setInterval(() => {
    silentMs += PING_MS;
    if (silentMs >= SILENT_MS) end();
    else if (socket.readyState === WebSocket.OPEN) socket.send('{"type":"ping"}');
  }, PING_MS);
  try {
    while (!closed || waiting.length) {
      if (waiting.length) yield waiting.shift();
      else await new Promise((resolve) => (wake = resolve));
    }
  } finally {
    clearInterval(watch);
  }
}

// `crypto.randomUUID` is only there over HTTPS and on this computer.
export function newIdempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
  });
}
