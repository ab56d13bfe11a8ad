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
let isWhole = true; // all of the thread is shown
let lastNews = null; // what the thread's entry in the list said when that was fetched

// ---- running a turn

async function ask(text, instead = {}) {
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
    putBack();
  }
}

function putBack() {
  message.value = [...waiting, message.value].filter(Boolean).join("\n");
  wait([]);
  grow();
}

function removeLastTurn() {
  while (log.lastChild && !log.lastChild.matches(".question")) log.lastChild.remove();
}

// The last answer anew; the old one stays in the thread's history.
async function answerAgain() {
  if (isWriting()) return;
  removeLastTurn();
  await run("regenerate");
}

// What a server that died has left in the middle goes on from the thread's last checkpoint.
async function resume() {
  if (isWriting()) return;
  await run("resume");
}

// Not what is only asked about an answer that has ended: its buttons are there already.
const isWriting = () => running !== null && !running.isOver;

const modesNow = () =>
  inspector.isOpen ? ["messages", "updates", "values", "events"] : ["messages"];

// What the next message goes on from, where that is not the thread's present: an earlier state, or
// a message that it is said instead of.
let base = {};

function edit(root, text) {
  if (isWriting()) return;
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
  const cancel = element("button", { type: "button", class: "small", onclick: cancelNotice }, "Cancel");
  byId("notice").replaceChildren(words, ...(words ? [cancel] : []));
  byId("notice").hidden = !words;
}

function cancelNotice() {
  load(threadId);
  message.focus();
}

const asked = (text) => question(text, edit);

// Gives what there is against the decisions, if they are not taken.
async function decide(before, interruptId, decisions) {
  if (isWriting()) return "An answer is being written: decide when it has ended.";
  const fields = { interrupt_id: interruptId, decisions };
  const { turn, answer, fault } = await run("decide", fields, before.cards);
  if (turn.runId || turn.controller.signal.aborted) return null;
  answer.root.remove();
  return fault ?? "The decision was not taken.";
}

async function run(kind, fields = {}, cards = undefined) {
  isAtEnd = true;
  const open = begin(kind, threadId, { modes: modesNow(), ...fields });
  const listening = listen(open, () => run(kind, fields, cards), cards);
  if (isLost(document.activeElement)) log.lastChild.focus({ preventScroll: true });
  return listening;
}

async function listen(open, again, cards) {
  const turn = { controller: new AbortController(), runId: null, isOver: false };
  running = turn;
  busy(true);
  inspector.begin();
  const answer = newAnswer(cards, () => retry(turn, again));
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
  show(answer.root, false);
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
  byId("announcer").textContent = answer.spoken.slice(-2000);
  tabs.postMessage({ threadId });
  const told = list.refresh();
  // a message was quicker than the thread that it went to
  if (running === turn && !isWhole) await load(threadId, { isNews: true });
  else if (running === turn) await settle(turn, answer);
  await told;
}

// What is shown is now what the thread holds: it can be said differently, and answered anew.
async function settle(turn, answer) {
  const [news, state] = await withNews(threadId);
  if (running !== turn) return;
  lastNews = news;
  lastCheckpoint = state.checkpoint?.checkpoint_id ?? null;
  const questions = (state.values?.messages ?? []).filter(({ type }) => type === "human");
  const shown = [...log.querySelectorAll(".question")];
  shown.forEach((root, at) => questions[at] && editable(root, questions[at].id));
  if (!state.interrupts?.length) answer.offerAgain();
}

async function stop() {
  if (!running?.runId) return;
  try {
    await api.stop(threadId, running.runId);
  } catch (error) {
    tell(error);
  }
}

// A run that began has left its question in the thread: asked again it would stand there twice.
function retry(turn, again) {
  if (isWriting()) return;
  if (turn.runId) return answerAgain();
  removeLastTurn();
  again();
}

const newAnswer = (cards, onRetry) =>
  new Answer({ onDecide: decide, onRetry, onAgain: answerAgain, onResume: resume }, cards);

// ---- showing a thread

// From the thread's state; what a run that goes on has said so far comes from its stream.
async function load(id, { isNews = false } = {}) {
  const top = isNews && !isAtEnd ? log.scrollTop : null;
  leave();
  threadId = id;
  if (!isNews) {
    log.replaceChildren(); // what is shown is the thread that the next message goes to
    isWhole = false;
  }
  welcome();
  forget();
  list.mark(id);
  try {
    const [[news, state], active] = await Promise.all([withNews(id), api.activeRun(id)]);
    if (threadId !== id || running) return;
    const last = render(state, active);
    if (top !== null) log.scrollTop = top;
    isAtEnd = top === null;
    isWhole = true;
    lastNews = news;
    lastCheckpoint = state.checkpoint?.checkpoint_id ?? null;
    if (active) await listen(join(id, active.run_id), () => load(id), last?.cards);
    else if (state.tasks?.length && !state.interrupts?.length) offerToResume();
  } catch (error) {
    if (threadId === id && !isNews) tell(error, ["Load again", () => load(id)]);
  }
}

// The news first: what changes in between is news at the next look.
async function withNews(id) {
  const news = await api.news(id);
  return [news, await api.state(id)];
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
      const root = asked(textOf(each));
      editable(root, each.id);
      show(root);
    } else if (each.type === "ai" || each.type === "tool") {
      answer ??= settled();
      for (const event of eventsOf(each)) answer.take(event);
    }
  }
  if (said) show(asked(textOf(said)));
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
  threadId = lastCheckpoint = lastNews = null;
  isWhole = true;
  forget();
  history.replaceState(null, "", location.pathname);
  list.mark(null);
  log.replaceChildren();
  welcome();
  closeThreads();
  message.focus();
}

// Stops listening; the run goes on at the server.
function leave() {
  running?.controller.abort();
  running = null;
  putBack();
  busy(false);
  link("idle");
}

// Another tab, or another person's program, may have gone on with the thread.
async function lookAgain() {
  if (!threadId || running || document.hidden || Object.keys(base).length) return;
  const id = threadId;
  try {
    const news = await api.news(id);
    if (news === lastNews || id !== threadId || running) return;
    const now = (await api.state(id)).checkpoint?.checkpoint_id ?? null;
    if (id !== threadId || running) return;
    const isNew = lastCheckpoint !== undefined && now !== lastCheckpoint;
    if (isNew) return await load(id, { isNews: true });
    lastCheckpoint = now; // a lost run's partial stays until there is news
    if (!news.endsWith("busy")) lastNews = news; // a run that has just begun is not in the state yet
  } catch {
    // the next look tells, or the next message does
  }
}

// ---- the page around it

function show(node, isForced = true) {
  log.append(node);
  welcome();
  stayAtEnd(isForced);
}

// The button that was pressed is gone, or cannot be seen: whoever has no mouse is nowhere.
const isLost = (node) => node === document.body || !node.checkVisibility({ visibilityProperty: true });

function welcome() {
  byId("welcome").hidden = log.childElementCount > 0;
}

// Follows the answer, unless the person has scrolled up to read.
let isAtEnd = true;
log.addEventListener("scroll", () => {
  isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
});
function stayAtEnd(isForced = false) {
  isAtEnd ||= isForced;
  if (isAtEnd) log.scrollTop = log.scrollHeight;
}

function busy(isBusy) {
  const focused = document.activeElement;
  byId("when-busy").hidden = !isBusy;
  byId("stop").hidden = !isBusy;
  if (composer.contains(focused) && isLost(focused)) message.focus();
}

function openThreads(isOpen) {
  document.body.classList.toggle("threads-open", isOpen);
  byId("open-threads").setAttribute("aria-expanded", String(isOpen));
}

// True if they were open.
function closeThreads() {
  const wereOpen = document.body.classList.contains("threads-open");
  openThreads(false);
  return wereOpen;
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
  if (event.key !== "Escape") return;
  if (closeThreads()) byId("open-threads").focus();
  else stop();
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
byId("open-threads").addEventListener("click", () => closeThreads() || openThreads(true));
byId("thread-list").addEventListener("click", ({ target }) => {
  if (target.closest(".thread") && closeThreads()) log.focus();
});
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
  if (!id && threadId) newThread(); // the browser's Back leads out of the thread
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
