// The page: one conversation at a time, its list, its composer, and the inspector beside it.

import * as api from "/page/api.js";
import { Answer, editable, eventsOf, question, textOf } from "/page/conversation.js";
import { byId, element } from "/page/dom.js";
import { Inspector } from "/page/inspector.js";
import { watchMemories } from "/page/memories.js";
import { follow } from "/page/stream.js";
import { ThreadList } from "/page/threads.js";
import { watchToken } from "/page/token.js";
import { begin, join } from "/page/turn.js";

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
let running = null; // { controller, runId, isOver }
let lastCheckpoint = null; // of what is shown; undefined: it is more than the thread holds
let lastAsked = "";

// ---- running a turn

async function ask(text, instead = {}) {
  lastAsked = text;
  const from = { ...base };
  notice();
  show(asked(text));
  await run("message", { message: text, ...from, ...instead });
}

// Messages sent while an answer is written, which go when it has ended.
let waiting = [];

async function askMeanwhile(text) {
  const way = byId("when-busy").value;
  if (way === "rollback") {
    leave();
    removeLastTurn();
    log.lastChild?.remove();
    await ask(text, { multitask_strategy: "rollback" });
  } else {
    wait([...waiting, text]);
    if (way === "interrupt") await stop();
  }
}

function wait(texts) {
  waiting = texts;
  byId("waiting").hidden = !texts.length;
  byId("waiting").textContent = `Goes next: ${texts.join(" · ")}`;
}

// What waited goes on, or goes back to where it was written if there is something to decide first.
function goOn(status) {
  const [next, ...rest] = waiting;
  if (next === undefined) return;
  if (["success", "stopped"].includes(status)) {
    wait(rest);
    ask(next);
  } else {
    message.value = [...waiting, message.value].filter(Boolean).join("\n");
    wait([]);
    grow();
  }
}

function removeLastTurn() {
  while (log.lastChild && !log.lastChild.matches(".question")) log.lastChild.remove();
}

// The last answer anew; the old one stays in the thread's history.
async function answerAgain() {
  if (running) return;
  removeLastTurn();
  await run("regenerate");
}

// What a server that died has left in the middle goes on from the thread's last checkpoint.
async function resume() {
  if (running) return;
  await run("resume");
}

const modesNow = () =>
  inspector.isOpen ? ["messages", "updates", "values", "events"] : ["messages"];

// What the next message goes on from, where that is not the thread's present: an earlier state, or
// a message that it is said instead of.
let base = {};

function edit(root, text) {
  if (running) return;
  message.value = text;
  grow();
  message.focus();
  notice("You say this message differently.", { replaces: root.dataset.message }, () => {
    while (log.lastChild !== root) log.lastChild.remove();
    root.remove();
  });
}

let beforeAsk = () => {};
function notice(words = "", from = {}, before = () => {}) {
  if (!words) beforeAsk();
  base = from;
  beforeAsk = before;
  const cancel = element("button", { type: "button", class: "small", onclick: () => load(threadId) }, "Cancel");
  byId("notice").replaceChildren(words, ...(words ? [cancel] : []));
  byId("notice").hidden = !words;
}

const asked = (text) => question(text, edit);

// Gives what there is against the decisions, if they are not taken.
async function decide(before, interruptId, decisions) {
  if (running && !running.isOver) return "An answer is being written: decide when it has ended.";
  const fields = { interrupt_id: interruptId, decisions };
  const { turn, answer, fault } = await run("decide", fields, before.cards);
  if (turn.runId || turn.controller.signal.aborted) return null;
  answer.root.remove();
  return fault ?? "The decision was not taken.";
}

const run = (kind, fields = {}, cards = undefined) =>
  listen(begin(kind, threadId, { modes: modesNow(), ...fields }), cards);

async function listen(open, cards) {
  const turn = { controller: new AbortController(), runId: null, isOver: false };
  running = turn;
  busy(true);
  inspector.begin();
  const answer = newAnswer(cards);
  let status = "error";
  let fault = null;
  const take = (event) => {
    if (event.type === "run_started") began(turn, event);
    if (event.type === "error") fault = event.message;
    if (event.type === "done") {
      status = event.status;
      turn.isOver = true;
    }
    answer.take(event);
  };
  show(answer.root);
  try {
    for await (const event of follow(open, { signal: turn.controller.signal, onLink: link })) {
      take(event);
      inspector.take(event);
      stayAtEnd();
    }
    // what cannot be asked about a finished answer does not spoil it: the next look tells
    if (turn.isOver && turn.runId) await ended(turn, answer).catch(() => {});
  } catch (error) {
    take({ type: "error", code: error.code, message: error.message });
    take({ type: "done", status: "error" });
    if (running === turn && turn.runId) lastCheckpoint = undefined;
  } finally {
    if (running === turn) {
      running = null;
      busy(false);
      goOn(status);
    }
  }
  return { turn, answer, fault };
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
  if (running === turn) {
    const state = await api.state(threadId);
    if (running !== turn) return;
    lastCheckpoint = state.checkpoint?.checkpoint_id ?? null;
    const questions = (state.values?.messages ?? []).filter(({ type }) => type === "human");
    const shown = [...log.querySelectorAll(".question")];
    shown.forEach((root, at) => questions[at] && editable(root, questions[at].id));
    if (!state.interrupts?.length) answer.offerAgain();
  }
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

const newAnswer = (cards) =>
  new Answer({ onDecide: decide, onRetry: () => ask(lastAsked), onAgain: answerAgain, onResume: resume }, cards);

// ---- showing a thread

// From the thread's state; what a run that goes on has said so far comes from its stream.
async function load(id) {
  leave();
  threadId = id;
  log.replaceChildren(); // what is shown is the thread that the next message goes to
  welcome();
  forget();
  list.mark(id);
  try {
    const [state, active] = await Promise.all([api.state(id), api.activeRun(id)]);
    if (threadId !== id) return;
    const last = render(state, active);
    lastCheckpoint = state.checkpoint?.checkpoint_id ?? null;
    if (active) await listen(join(id, active.run_id), last?.cards);
    else if (state.tasks?.length && !state.interrupts?.length) offerToResume();
  } catch (error) {
    if (threadId === id) tell(error, ["Load again", () => load(id)]);
  }
}

function render(state, active) {
  log.replaceChildren();
  let messages = state.values?.messages ?? [];
  const said = active?.kwargs?.input?.messages?.[0];
  if (active) messages = before(messages, said);
  let answer = null;
  for (const each of messages) {
    if (each.type === "human") {
      answer = null;
      lastAsked = textOf(each);
      const root = asked(lastAsked);
      editable(root, each.id);
      show(root);
    } else if (each.type === "ai" || each.type === "tool") {
      answer ??= settled();
      for (const event of eventsOf(each)) answer.take(event);
    }
  }
  if (said) {
    lastAsked = textOf(said);
    show(asked(lastAsked));
  }
  if (active) return said ? null : answer; // what a run without words of its own goes on with
  for (const { id, value } of state.interrupts ?? []) {
    (answer ??= settled()).take({ type: "interrupt", id, requests: value });
  }
  if (answer && !state.interrupts?.length) answer.offerAgain();
  return answer;
}

// Every state that the thread ever had, on any branch; the next message may go on from each.
async function showHistory() {
  if (!threadId) return;
  const states = await api.history(threadId);
  byId("history").replaceChildren(
    ...states.map((state) => {
      const messages = state.values?.messages ?? [];
      const words = messages.length ? textOf(messages.at(-1)).slice(0, 60) || messages.at(-1).type : "empty";
      const open = element("button", { type: "button", onclick: () => lookBack(state) }, `${messages.length} · ${words}`);
      return element("li", {}, open);
    }),
  );
}

function offerToResume() {
  const answer = settled();
  answer.take({
    type: "error",
    code: "run_lost",
    message: "This was not finished.",
  });
}

function lookBack(state) {
  leave();
  render(state, null);
  const id = state.checkpoint.checkpoint_id;
  notice("You look at an earlier state; your next message goes on from here.", { checkpoint_id: id });
}

function forget() {
  beforeAsk = () => {};
  notice();
  byId("history").replaceChildren();
}

// The messages that were there before the run: its stream tells of all that came after.
function before(messages, said) {
  const at = messages.findIndex(({ id }) => said && id === said.id);
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
  forget();
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
  wait([]);
  busy(false);
  link("idle");
}

// Another tab, or another person's program, may have gone on with the thread.
async function lookAgain() {
  if (!threadId || running || document.hidden || Object.keys(base).length) return;
  const id = threadId;
  try {
    const now = await checkpoint();
    if (id !== threadId || running) return;
    if (lastCheckpoint === undefined) lastCheckpoint = now; // the partial stays until there is news
    else if (now !== lastCheckpoint) await load(id);
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
  byId("when-busy").hidden = !isBusy;
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

function tell(error, [words, onclick] = []) {
  const again = words ? [element("button", { type: "button", onclick }, words)] : [];
  show(element("div", { class: "failure", role: "alert" }, element("p", {}, error.message), ...again));
}

const threadInAddress = () => /^#([0-9a-f-]{36})$/.exec(location.hash)?.[1];

function fold(button, panel, isOpen) {
  byId(panel).hidden = !isOpen;
  byId(button).setAttribute("aria-expanded", String(isOpen));
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = message.value;
  if (!text.trim()) return;
  message.value = "";
  grow();
  running ? askMeanwhile(text) : ask(text);
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
byId("show-history").addEventListener("click", () => showHistory().catch(tell));
byId("new-thread").addEventListener("click", newThread);
watchMemories(tell);
watchToken();
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
