// The page: one conversation at a time, its list, its composer, and the inspector beside it.

import * as api from "/page/api.js";
import { Answer, eventsOf, question, textOf } from "/page/conversation.js";
import { byId, element } from "/page/dom.js";
import { Inspector } from "/page/inspector.js";
import { follow, overSocket, overSse } from "/page/stream.js";
import { ThreadList } from "/page/threads.js";

const EXAMPLES = ["What is 17 * 23?", "What time is it in Tokyo?", "How do token frames work?"];
const LOOK_AGAIN_MS = 4000;

const log = byId("log");
const composer = byId("composer");
const message = byId("message");
const inspector = new Inspector();
const tabs = new BroadcastChannel("steadystream");
const list = new ThreadList({
  onOpen: (id) => (location.hash = id),
  onDeleted: (id) => id === threadId && newThread(),
  onFault: tell,
});

let threadId = null;
let running = null; // { controller, runId, ended }
let lastCheckpoint = null;
let lastAsked = "";

// ---- running a turn

async function ask(text) {
  lastAsked = text;
  show(question(text));
  const modes = inspector.isOpen ? ["messages", "updates", "values", "events"] : ["messages"];
  const body = { message: text, modes, ...(threadId ? { thread_id: threadId } : {}) };
  const frame = { type: "message", content: text, modes };
  await run(isSocket() ? overSocket(threadId, frame) : overSse("/agent/stream", body));
}

async function decide(interruptId, decisions) {
  const body = { thread_id: threadId, interrupt_id: interruptId, decisions };
  const frame = { type: "decide", interrupt_id: interruptId, decisions };
  await run(isSocket() ? overSocket(threadId, frame) : overSse("/agent/decide", body));
}

const join = (runId) => run(overSse(`/agent/stream/${threadId}/${runId}`));

async function run(open) {
  const turn = { controller: new AbortController(), runId: null };
  running = turn;
  busy(true);
  inspector.begin();
  const answer = newAnswer();
  show(answer.root);
  try {
    for await (const event of follow(open, { signal: turn.controller.signal, onLink: link })) {
      if (event.type === "run_started") began(turn, event);
      answer.take(event);
      inspector.take(event);
      stayAtEnd();
      if (event.type === "done") await ended(turn, answer);
    }
  } catch (error) {
    answer.take({ type: "error", message: error.message });
    answer.take({ type: "done", status: "error" });
  } finally {
    if (running === turn) {
      running = null;
      busy(false);
    }
  }
}

function began(turn, { run_id: runId, thread_id: id }) {
  turn.runId = runId;
  if (threadId !== id) {
    threadId = id;
    history.replaceState(null, "", `#${id}`);
  }
  tabs.postMessage({ threadId: id });
  list.mark(id);
}

async function ended(turn, answer) {
  byId("announcer").textContent = answer.text.slice(0, 2000);
  tabs.postMessage({ threadId });
  if (running === turn) lastCheckpoint = await checkpoint();
  await list.refresh();
}

async function stop() {
  if (!running?.runId) return;
  try {
    await api.stop(threadId, running.runId);
  } catch (error) {
    tell(error);
  }
}

const newAnswer = () => new Answer({ onDecide: decide, onRetry: () => ask(lastAsked) });

// ---- showing a thread

// From the thread's state; what a run that goes on has said so far comes from its stream.
async function load(id) {
  leave();
  threadId = id;
  list.mark(id);
  try {
    const [state, active] = await Promise.all([api.state(id), api.activeRun(id)]);
    if (threadId !== id) return;
    render(state, active);
    lastCheckpoint = state.checkpoint?.checkpoint_id ?? null;
    if (active) await join(active.run_id);
  } catch (error) {
    if (threadId === id) tell(error);
  }
}

function render(state, active) {
  log.replaceChildren();
  let messages = state.values?.messages ?? [];
  const asked = active?.kwargs?.input?.messages?.[0];
  if (active) messages = before(messages, asked);
  let answer = null;
  for (const each of messages) {
    if (each.type === "human") {
      answer = null;
      lastAsked = textOf(each);
      show(question(lastAsked));
    } else if (each.type === "ai" || each.type === "tool") {
      answer ??= settled();
      for (const event of eventsOf(each)) answer.take(event);
    }
  }
  if (asked) {
    lastAsked = textOf(asked);
    show(question(lastAsked));
  }
  if (active) return;
  for (const { id, value } of state.interrupts ?? []) {
    (answer ??= settled()).take({ type: "interrupt", id, requests: value });
  }
}

// The messages that were there before the run: its stream tells of all that came after.
function before(messages, asked) {
  const at = messages.findIndex(({ id }) => asked && id === asked.id);
  return at < 0 ? messages : messages.slice(0, at);
}

function settled() {
  const answer = newAnswer().settle();
  show(answer.root);
  return answer;
}

function newThread() {
  leave();
  threadId = lastCheckpoint = null;
  history.replaceState(null, "", location.pathname);
  list.mark(null);
  log.replaceChildren();
  welcome();
  message.focus();
}

// Stops listening; the run goes on at the server.
function leave() {
  running?.controller.abort();
  running = null;
  busy(false);
  link("idle");
}

// Another tab, or another person's program, may have gone on with the thread.
async function lookAgain() {
  if (!threadId || running || document.hidden) return;
  const id = threadId;
  try {
    const now = await checkpoint();
    if (id === threadId && !running && now !== lastCheckpoint) await load(id);
  } catch {
    // the next look tells, or the next message does
  }
}

const checkpoint = async () => (await api.state(threadId)).checkpoint?.checkpoint_id ?? null;

// ---- the page around it

function show(node) {
  log.append(node);
  welcome();
  stayAtEnd(true);
}

function welcome() {
  byId("welcome").hidden = log.childElementCount > 0;
}

// Follows the answer, unless the person has scrolled up to read.
let isAtEnd = true;
log.addEventListener("scroll", () => {
  isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
});
function stayAtEnd(force = false) {
  if (force || isAtEnd) log.scrollTop = log.scrollHeight;
}

function busy(isBusy) {
  byId("send").hidden = isBusy;
  byId("stop").hidden = !isBusy;
}

let linkTimer = null;
function link(state) {
  const place = byId("link");
  if (place.dataset.state === state) return;
  place.dataset.state = state;
  place.textContent = { lost: "Connection lost. Trying again…", back: "Connected again." }[state] ?? "";
  clearTimeout(linkTimer);
  if (state === "back") linkTimer = setTimeout(() => (place.textContent = ""), 4000);
}

function tell(error) {
  show(element("div", { class: "failure", role: "alert" }, element("p", {}, error.message)));
}

const threadInAddress = () => /^#([0-9a-f-]{36})$/.exec(location.hash)?.[1];
const isSocket = () => byId("transport").value === "websocket";

function fold(button, panel, isOpen) {
  byId(panel).hidden = !isOpen;
  byId(button).setAttribute("aria-expanded", String(isOpen));
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = message.value;
  if (!text.trim() || running) return;
  message.value = "";
  grow();
  ask(text);
});
message.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});
message.addEventListener("input", grow);
function grow() {
  message.rows = Math.min(8, message.value.split("\n").length);
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
byId("stop").addEventListener("click", stop);
byId("new-thread").addEventListener("click", newThread);
byId("open-inspector").addEventListener("click", () => {
  fold("open-inspector", "inspector", !inspector.isOpen);
  localStorage.setItem("inspector", inspector.isOpen ? "open" : "");
});
byId("open-threads").addEventListener("click", () => {
  const isOpen = document.body.classList.toggle("threads-open");
  byId("open-threads").setAttribute("aria-expanded", String(isOpen));
});
byId("thread-list").addEventListener("click", () => document.body.classList.remove("threads-open"));
byId("transport").value = localStorage.getItem("transport") ?? "sse";
byId("transport").addEventListener("change", ({ target }) => localStorage.setItem("transport", target.value));
byId("examples").append(
  ...EXAMPLES.map((text) =>
    element("li", {}, element("button", { type: "button", onclick: () => ask(text) }, text)),
  ),
);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address keeps the thread
  message.focus();
});
addEventListener("hashchange", () => {
  const id = threadInAddress();
  if (id && id !== threadId) load(id);
});
document.addEventListener("visibilitychange", lookAgain);
addEventListener("focus", lookAgain);
tabs.addEventListener("message", ({ data }) => {
  list.refresh();
  if (data.threadId === threadId) lookAgain();
});
setInterval(lookAgain, LOOK_AGAIN_MS);

fold("open-inspector", "inspector", localStorage.getItem("inspector") === "open");
welcome();
list.refresh();
api.graph("agent").then((drawn) => inspector.graph.show(drawn), () => {});
if (threadInAddress()) load(threadInAddress());
