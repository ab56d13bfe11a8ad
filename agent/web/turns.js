// The turns of the thread that is shown: started, read, stopped, and started again.

import * as api from "./api.js";
import { Answer, question } from "./conversation.js";
import { byId, isLost } from "./dom.js";
import { goToEnd, removeLastAnswer, removeRefused, show, tell, turnList } from "./log.js";
import { follow } from "./stream.js";
import { begin } from "./turn.js";

const STOP_PATIENCE_MS = 500;

export class Turns {
  // `thread` has the `id` of the thread; its `began`, `ended` and `lost` are called for each turn.
  constructor(thread, composer, inspector) {
    this.thread = thread;
    this.composer = composer;
    this.inspector = inspector;
    this.running = null; // { controller, attempt, runId, isOver, isToStop }
  }

  // An answer that has ended is not being written, though its thread's state is still being read.
  get isWriting() {
    return this.running !== null && !this.running.isOver;
  }

  send(text) {
    return this.running ? this.#sendWhileBusy(text) : this.ask(text);
  }

  async ask(text, fields = {}) {
    const base = this.composer.takeBase();
    this.latest?.passOver();
    removeRefused();
    const question = this.question(text);
    show(question);
    const message = { message: text, ...base.fields, ...fields };
    // results of calls that nobody decided come with the next answer
    const { turn, answer, status } = await this.#run("message", message, this.latest?.cards);
    if (turn.runId || status !== "error") return;
    for (const { dataset } of [question, answer.root]) dataset.refused = "";
    this.composer.restore(text, { ...base, before: removeRefused });
  }

  async #sendWhileBusy(text) {
    const { multitaskStrategy } = this.composer;
    if (multitaskStrategy === "rollback") {
      this.leave();
      removeLastAnswer();
      turnList.lastChild?.remove();
      await this.ask(text, { multitask_strategy: "rollback" });
    } else {
      this.composer.wait(text);
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

  question(text) {
    return question(text, (root) => this.#edit(root, text));
  }

  answer(cards, onRetry) {
    const unlessWriting = (type) => () => this.isWriting || this.#runAgain(type);
    const onDecide = (...decision) => this.#decide(...decision);
    const onRegenerate = unlessWriting("regenerate"); // the old answer stays in the thread's history
    const onContinueRun = unlessWriting("continue_run");
    this.latest = new Answer({ onDecide, onRetry, onRegenerate, onContinueRun }, cards);
    return this.latest;
  }

  async #runAgain(type) {
    if (type === "regenerate") removeLastAnswer();
    await this.#run(type);
  }

  #edit(root, text) {
    if (this.isWriting) return;
    this.composer.write(text);
    this.composer.focus();
    this.composer.notice("You say this message differently.", { replaces: root.dataset.message }, () => {
      while (turnList.lastChild !== root) turnList.lastChild.remove();
      root.remove();
    });
  }

  // Returns the error's message if the decisions are not taken, else null.
  async #decide(answerBefore, interruptId, decisions) {
    if (this.isWriting) return "An answer is being written: decide when it has ended.";
    const fields = { interrupt_id: interruptId, decisions };
    const { turn, answer, errorMessage } = await this.#run("decide", fields, answerBefore.cards);
    if (turn.runId || turn.controller.signal.aborted) return null;
    answer.root.remove();
    return errorMessage ?? "The decision was not taken.";
  }

  async #run(type, fields = {}, cards = undefined) {
    const modes = this.inspector.isOpen ? ["messages", "updates", "values", "events"] : ["messages"];
    const open = begin(type, this.thread.id, { modes, ...fields });
    goToEnd();
    const reading = this.read(open, () => this.#run(type, fields, cards), cards);
    if (isLost(document.activeElement)) turnList.lastChild.focus({ preventScroll: true });
    return reading;
  }

  // Reads a run, through `open`; `startAgain` starts another like it.
  async read(open, startAgain, cards) {
    const turn = { controller: new AbortController(), attempt: null, runId: null, isOver: false, isToStop: false };
    this.running = turn;
    this.composer.busy(true);
    this.inspector.begin();
    const answer = this.answer(cards, () => this.#retry(turn, startAgain));
    let status = "error";
    let errorMessage = null;
    const take = (event) => {
      if (event.type === "run_started") this.#began(turn, event);
      if (event.type === "error") errorMessage = event.message;
      if (event.type === "done") {
        status = event.status;
        turn.isOver = true;
      }
      answer.take(event);
      if (event.type === "interrupt") goToEnd();
    };
    show(answer.root, false);
    try {
      const onAttempt = (attempt) => (turn.attempt = attempt);
      for await (const event of follow(open, { signal: turn.controller.signal, onLink: link, onAttempt })) {
        take(event);
        this.inspector.take(event);
      }
      if (!turn.isOver && this.running === turn) take({ type: "done", status: "stopped" });
      // a state that cannot be read does not spoil a finished answer: it is read again later
      if (turn.isOver && turn.runId) await this.#ended(turn, answer).catch(() => {});
    } catch (error) {
      take({ type: "error", code: error.code, message: error.message });
      take({ type: "done", status: "error" });
      if (this.running === turn && turn.runId) this.thread.lost();
    } finally {
      if (this.running === turn) {
        this.running = null;
        this.composer.busy(false);
        this.#sendNext(status);
      }
    }
    return { turn, answer, status, errorMessage };
  }

  #began(turn, event) {
    turn.runId = event.run_id;
    this.thread.began(event.thread_id);
    if (turn.isToStop && this.running === turn) this.stop();
  }

  async #ended(turn, answer) {
    byId("announcer").textContent = answer.spoken.slice(-2000);
    await this.thread.ended(answer, () => this.running === turn);
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
