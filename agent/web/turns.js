// The turns of the thread that is shown: started, read, stopped, and started again.

import * as api from "./api.js";
import { Answer } from "./conversation.js";
import { contentOf, textOf } from "./content.js";
import { byId, element, isLost } from "./dom.js";
import { goToEnd, removeLastAnswer, removeRefused, show, tell, turnList } from "./log.js";
import { chosen } from "./options.js";
import { Question } from "./question.js";
import { follow } from "./stream.js";
import { begin } from "./turn.js";

const STOP_PATIENCE_MS = 500;

export class Turns {
  // `thread` has the `id` of the thread; its `began`, `ended` and `lost` are called for each turn.
  constructor(thread, composer, inspector) {
    this.thread = thread;
    this.composer = composer;
    this.inspector = inspector;
    this.parts = new WeakMap(); // node -> the Question or Answer that it shows
    this.running = null; // { controller, attempt, runId, isOver, isToStop, isUnasked, hasAsked, ended }
  }

  // An answer that has ended is not being written, though its thread's state is still being read.
  get isWriting() {
    return this.running !== null && !this.running.isOver;
  }

  send(content) {
    if (!this.running) return this.ask(content);
    if (this.isWriting) return this.#sendWhileBusy(content);
    this.running.isFollowed = true; // its end is known, and what it left is being read
    this.composer.wait(content);
  }

  async ask(content, fields = {}, base = this.composer.takeBase()) {
    this.latest?.passOver();
    removeRefused();
    const question = this.question(content);
    question.actions.writtenAt(Date.now());
    show(question.root);
    const message = { message: content, ...base.fields, ...fields };
    // results of calls that nobody decided come with the next answer
    const { turn, answer, status } = await this.#run("message", message, this.latest?.cards);
    if (turn.runId ? !turn.isUnasked : status !== "error") return;
    for (const { dataset } of [question.root, answer.outer]) dataset.refused = "";
    this.composer.restore(content, { ...base, before: removeRefused });
  }

  async #sendWhileBusy(content) {
    const { multitaskStrategy } = this.composer;
    if (multitaskStrategy === "rollback") {
      this.leave();
      removeLastAnswer();
      turnList.lastChild?.remove();
      await this.ask(content, { multitask_strategy: "rollback" });
    } else {
      this.composer.wait(content);
      if (multitaskStrategy === "interrupt") await this.stop();
    }
  }

  // At once, or as soon as the run is known: over another connection, if this one hangs. Who says it
  // again does not want to wait for that.
  async stop() {
    const turn = this.running;
    if (!turn) return;
    if (!turn.runId && turn.isToStop) turn.controller.abort();
    else if (!turn.runId) turn.attempt?.abort();
    turn.isToStop = true;
    this.latest.flush();
    if (!turn.runId) return;
    // a browser opens few connections to a server, and tabs may hold them all: this one's is given up
    const release = setTimeout(() => turn.attempt?.abort(), STOP_PATIENCE_MS);
    try {
      await api.stop(this.thread.id, turn.runId);
    } catch (error) {
      tell(error);
    } finally {
      clearTimeout(release);
    }
  }

  // Stop is said to all that is to come.
  stopAll() {
    this.composer.putBack();
    return this.stop();
  }

  // Stops reading; the run goes on at the server.
  leave() {
    this.running?.controller.abort();
    this.running = null;
    this.composer.putBack();
    this.composer.busy(false);
    link("idle");
  }

  question(content) {
    const question = new Question(content, (...changed) => this.#replace(...changed));
    this.parts.set(question.root, question);
    return question;
  }

  // Those that are shown, in order.
  shownQuestions() {
    return [...turnList.querySelectorAll(".question")].map((root) => this.parts.get(root));
  }

  answerTo({ root }) {
    return this.parts.get(root.nextElementSibling);
  }

  answer(cards, onRetry) {
    const unlessWriting = (type) => () => this.isWriting || this.#runAgain(type);
    const onDecide = (...decision) => this.#decide(...decision);
    const onRegenerate = unlessWriting("regenerate"); // the old answer stays in the thread's history
    const onContinueRun = unlessWriting("continue_run");
    this.latest = new Answer({ onDecide, onRetry, onRegenerate, onContinueRun }, cards);
    this.parts.set(this.latest.outer, this.latest);
    return this.latest;
  }

  async #runAgain(type) {
    if (type === "regenerate") removeLastAnswer();
    await this.#run(type);
  }

  // A message is said differently: what came of it stays on another branch. What was attached stays with it.
  #replace({ root, id, content }, text) {
    if (this.isWriting) return;
    while (turnList.lastChild !== root) turnList.lastChild.remove();
    root.remove();
    const attached = Array.isArray(content) ? content.filter((block) => textOf({ content: [block] }) === "") : [];
    const words = "You say this message differently.";
    this.composer.notice();
    this.ask(contentOf(text, attached), {}, { words, fields: { replaces: id }, before: () => {} });
    this.composer.focus();
  }

  // Returns the error's message if the decisions are not taken, else null.
  async #decide(answerBefore, type, fields) {
    if (this.running?.hasAsked) await this.running.ended; // the question came, its run's end is on the way
    if (this.isWriting) return "An answer is being written: decide when it has ended.";
    const { turn, answer, errorMessage } = await this.#run(type, fields, answerBefore.cards);
    if (turn.runId || turn.controller.signal.aborted) return null;
    answer.outer.remove();
    return errorMessage ?? "The decision was not taken.";
  }

  async #run(type, fields = {}, cards = undefined) {
    const modes = this.inspector.isOpen ? ["messages", "updates", "values", "events"] : ["messages"];
    const open = begin(type, this.thread.id, { modes, ...chosen(type), ...fields });
    goToEnd();
    const isFork = type === "regenerate" || Boolean(fields.replaces ?? fields.checkpoint_id);
    const reading = this.read(open, () => this.#run(type, fields, cards), cards, isFork);
    if (isLost(document.activeElement)) this.latest.root.focus({ preventScroll: true });
    return reading;
  }

  // Reads a run, through `open`; `startAgain` starts another like it.
  async read(open, startAgain, cards, isFork = false) {
    const turn = { isFork, controller: new AbortController(), attempt: null, runId: null, isOver: false, isToStop: false, isUnasked: false, hasAsked: false };
    turn.ended = new Promise((resolve) => (turn.end = resolve));
    this.running = turn;
    this.composer.busy(true);
    this.inspector.begin();
    byId("announcer").replaceChildren();
    byId("alert").textContent = "";
    const answer = this.answer(cards, () => this.#retry(turn, startAgain));
    let status = "error";
    let errorMessage = null;
    const take = (event) => {
      if (event.type === "run_started") this.#began(turn, event);
      if (event.type === "error") errorMessage = event.message;
      if (event.type === "done") {
        status = event.status;
        turn.isOver = true;
        turn.end();
      }
      answer.take(event);
      if (event.type === "token") announce(answer.unspoken(false));
      if (event.type === "interrupt") {
        turn.hasAsked = true;
        goToEnd();
        byId("alert").textContent = "The agent waits for your decision.";
      }
    };
    show(answer.outer, false);
    try {
      const onAttempt = (attempt) => (turn.attempt = attempt);
      for await (const event of follow(open, { signal: turn.controller.signal, onLink: link, onAttempt })) {
        take(event);
        this.inspector.take(event);
      }
      if (!turn.isOver && this.running === turn) take({ type: "done", status: "stopped" });
      // a state that cannot be read does not spoil a finished answer: it is read again later
      if (turn.isOver && turn.runId) await this.#ended(turn, answer, status).catch(() => {});
    } catch (error) {
      take({ type: "error", code: error.code, message: error.message });
      take({ type: "done", status: "error" });
      if (this.running === turn && turn.runId) this.thread.lost();
    } finally {
      turn.end();
      if (this.running === turn) {
        this.running = null;
        this.composer.busy(false);
        this.#sendNext(turn.isFollowed ? "success" : status);
      }
    }
    return { turn, answer, status, errorMessage };
  }

  #began(turn, event) {
    turn.runId = event.run_id;
    this.thread.began(event.thread_id, turn.isFork);
    if (turn.isToStop && this.running === turn) this.stop();
  }

  // A run that was stopped before it began has left nothing in the thread, its question neither.
  async #ended(turn, answer, status) {
    announce(answer.unspoken(true));
    const state = await this.thread.ended(answer, () => this.running === turn);
    turn.isUnasked = status === "stopped" && state !== undefined && state.metadata?.run_id !== turn.runId;
  }

  // Sends the message that waited, unless there is something to decide first.
  #sendNext(status) {
    if (!["success", "stopped"].includes(status)) this.composer.putBack();
    const next = this.composer.next();
    if (next !== undefined) this.ask(next);
  }

  // A run that began has left its question in the thread: sent again it would stand there twice.
  #retry(turn, startAgain) {
    if (this.isWriting) return;
    if (turn.runId) return this.#runAgain("regenerate");
    if ("refused" in turnList.lastChild.dataset && !this.composer.isEmpty) return this.composer.submit();
    removeLastAnswer();
    startAgain();
  }
}

// Politely: a screen reader says each of them once, when it has said what came before.
function announce(texts) {
  byId("announcer").append(...texts.map((text) => element("p", {}, text)));
}

let linkTimer = null;
function link(state, serverMessage = null) {
  const status = byId("link");
  const lost = `${serverMessage ?? "Connection lost."} Trying again…`;
  const text = { lost, back: "Connected again." }[state] ?? "";
  if (status.dataset.state === state && (state !== "lost" || status.textContent === text)) return;
  status.dataset.state = state;
  status.textContent = text;
  clearTimeout(linkTimer);
  if (state === "back") linkTimer = setTimeout(() => (status.textContent = ""), 4000);
}
