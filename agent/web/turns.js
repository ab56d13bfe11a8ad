// The turns of the thread that is shown: asked for, listened to, stopped, and asked for again.

import * as api from "/page/api.js";
import { Answer, question } from "/page/conversation.js";
import { byId, isLost } from "/page/dom.js";
import { log, removeLastAnswer, show, stayAtEnd, tell } from "/page/log.js";
import { follow } from "/page/stream.js";
import { begin } from "/page/turn.js";

export class Turns {
  // `thread` has the `id` that the turns are on, and is told when one has `began`, `ended`, or is `lost`.
  constructor(thread, composer, inspector) {
    this.thread = thread;
    this.composer = composer;
    this.inspector = inspector;
    this.running = null; // { controller, runId, isOver, isToStop }
  }

  // Not what is only asked about an answer that has ended: its buttons are there already.
  get isWriting() {
    return this.running !== null && !this.running.isOver;
  }

  say(text) {
    return this.running ? this.#sayMeanwhile(text) : this.ask(text);
  }

  async ask(text, instead = {}) {
    const base = this.composer.takeBase();
    show(this.question(text));
    await this.#run("message", { message: text, ...base, ...instead });
  }

  async #sayMeanwhile(text) {
    const { way } = this.composer;
    if (way === "rollback") {
      this.leave();
      removeLastAnswer();
      log.lastChild?.remove();
      await this.ask(text, { multitask_strategy: "rollback" });
    } else {
      this.composer.wait(text);
      if (way === "interrupt") await this.stop();
    }
  }

  // At once, or as soon as the run is known.
  async stop() {
    const turn = this.running;
    if (!turn) return;
    turn.isToStop = true;
    try {
      if (turn.runId) await api.stop(this.thread.id, turn.runId);
    } catch (error) {
      tell(error);
    }
  }

  // Stops listening; the run goes on at the server.
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
    const again = (kind) => () => this.isWriting || this.#again(kind);
    const onDecide = (...decided) => this.#decide(...decided);
    const onAgain = again("regenerate"); // the old answer stays in the thread's history
    return new Answer({ onDecide, onRetry, onAgain, onResume: again("resume") }, cards);
  }

  async #again(kind) {
    if (kind === "regenerate") removeLastAnswer();
    await this.#run(kind);
  }

  #edit(root, text) {
    if (this.isWriting) return;
    this.composer.write(text);
    this.composer.focus();
    this.composer.notice("You say this message differently.", { replaces: root.dataset.message }, () => {
      while (log.lastChild !== root) log.lastChild.remove();
      root.remove();
    });
  }

  // Gives what there is against the decisions, if they are not taken.
  async #decide(before, interruptId, decisions) {
    if (this.isWriting) return "An answer is being written: decide when it has ended.";
    const fields = { interrupt_id: interruptId, decisions };
    const { turn, answer, fault } = await this.#run("decide", fields, before.cards);
    if (turn.runId || turn.controller.signal.aborted) return null;
    answer.root.remove();
    return fault ?? "The decision was not taken.";
  }

  async #run(kind, fields = {}, cards = undefined) {
    const modes = this.inspector.isOpen ? ["messages", "updates", "values", "events"] : ["messages"];
    const open = begin(kind, this.thread.id, { modes, ...fields });
    stayAtEnd(true);
    const listening = this.listen(open, () => this.#run(kind, fields, cards), cards);
    if (isLost(document.activeElement)) log.lastChild.focus({ preventScroll: true });
    return listening;
  }

  // To a run, through `open`; `again` asks for it anew.
  async listen(open, again, cards) {
    const turn = { controller: new AbortController(), runId: null, isOver: false, isToStop: false };
    this.running = turn;
    this.composer.busy(true);
    this.inspector.begin();
    const answer = this.answer(cards, () => this.#retry(turn, again));
    let status = "error";
    let fault = null;
    const take = (event) => {
      if (event.type === "run_started") this.#began(turn, event);
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
        this.inspector.take(event);
        stayAtEnd();
      }
      // what cannot be asked about a finished answer does not spoil it: the next look tells
      if (turn.isOver && turn.runId) await this.#ended(turn, answer).catch(() => {});
    } catch (error) {
      take({ type: "error", code: error.code, message: error.message });
      take({ type: "done", status: "error" });
      if (this.running === turn && turn.runId) this.thread.lost();
    } finally {
      if (this.running === turn) {
        this.running = null;
        this.composer.busy(false);
        this.#goOn(status);
      }
    }
    return { turn, answer, fault };
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

  // With what waited, unless there is something to decide first.
  #goOn(status) {
    if (!["success", "stopped"].includes(status)) this.composer.putBack();
    const next = this.composer.next();
    if (next !== undefined) this.ask(next);
  }

  // A run that began has left its question in the thread: asked again it would stand there twice.
  #retry(turn, again) {
    if (this.isWriting) return;
    if (turn.runId) return this.#again("regenerate");
    removeLastAnswer();
    again();
  }
}

let linkTimer = null;
function link(state, told = null) {
  const place = byId("link");
  const lost = told ? `${told} Trying again…` : "Connection lost. Trying again…";
  const words = { lost, back: "Connected again." }[state] ?? "";
  if (place.dataset.state === state && (state !== "lost" || place.textContent === words)) return;
  place.dataset.state = state;
  place.textContent = words;
  clearTimeout(linkTimer);
  if (state === "back") linkTimer = setTimeout(() => (place.textContent = ""), 4000);
}
