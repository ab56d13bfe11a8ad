// What a conversation looks like: its turns, whether they come from the thread's state or a stream.

import { Actions } from "./actions.js";
import { ToolCard } from "./cards.js";
import { textOf } from "./content.js";
import { DecisionCard } from "./decision.js";
import { element } from "./dom.js";
import { Markdown } from "./markdown.js";
import { timeOf } from "./times.js";

const FINISH_WORDS = {
  stopped: "Stopped.",
  length: "Cut at the model's limit.",
  content_filter: "Stopped by the model's content filter.",
  refusal: "Refused by the model.",
};

// The answer to one message, fed with the events of the one vocabulary.
export class Answer {
  // `cards` are those of the answer that this one goes on with: their results belong in them.
  constructor({ onDecide, onRetry, onRegenerate, onContinueRun }, cards = new Map()) {
    this.onDecide = onDecide;
    this.onRetry = onRetry;
    this.onRegenerate = onRegenerate;
    this.onContinueRun = onContinueRun;
    this.root = element("article", { class: "answer", tabindex: "-1", "aria-label": "Answer", "aria-busy": "true" });
    this.texts = new Map(); // message id -> Markdown
    this.thoughts = new Map();
    this.cards = new Map(cards); // tool call id -> ToolCard
    this.decisions = [];
    this.isLive = true; // more of it is on its way
    this.discardable = []; // what a retry may take back: [key, map, node], as it came
    this.waiting = element("p", { class: "waiting", "aria-hidden": "true" }, "●");
    this.root.append(this.waiting);
    this.actions = new Actions("answer", () => [...this.texts.values()].map(({ text }) => text).join("\n\n"));
    this.outer = element("div", { class: "turn" }, this.root, this.actions.root);
    this.actions.root.hidden = true;
  }

  // It comes from the thread's state, or has ended: what is written is shown at once.
  settle() {
    this.isLive = false;
    for (const text of [...this.texts.values(), ...this.thoughts.values()]) text.end();
    this.waiting.remove();
    this.root.setAttribute("aria-busy", "false");
    return this;
  }

  // The last answer can be given anew.
  offerAgain() {
    this.actions.root.hidden = false;
    this.actions.offer("Answer again", "again", this.onRegenerate);
  }

  // What a screen reader was not told yet: blocks that are finished, or all.
  unspoken(isAll) {
    return [...this.texts.values()].flatMap((text) => text.unspoken(isAll));
  }

  // At once, what has come so far.
  flush() {
    for (const text of this.texts.values()) text.show();
  }

  take(event) {
    switch (event.type) {
      case "run_started":
        for (const card of this.cards.values()) card.continue();
        break;
      case "token":
        this.#write(this.#text(event.message_id, event.node), event.content);
        break;
      case "reasoning":
        this.#write(this.#thought(event.message_id), event.content);
        break;
      case "tool_call_delta":
        this.#card(event.id, event.tool).write(event.args_text);
        break;
      case "tool_call":
        this.#card(event.id, event.tool).call(event.tool, event.args);
        break;
      case "tool_result":
        this.#card(event.id, event.tool).answer(event.status, event.content, event.media);
        this.discardable = []; // the model's message was whole
        break;
      case "retry":
        this.#takeBack(event.message_id);
        break;
      case "interrupt":
        for (const card of this.cards.values()) card.wait();
        onceOnly(event.id);
        this.decisions.push(new DecisionCard(event, (...decided) => this.onDecide(this, ...decided)));
        this.#add(this.decisions.at(-1).root);
        break;
      case "progress":
        this.#tellHistory(event.data);
        break;
      case "error":
        this.#fail(event);
        break;
      case "done":
        this.#end(event.status, event.status === "stopped" ? "stopped" : event.finish_reason);
    }
  }

  #add(node) {
    if (this.waiting.isConnected) this.waiting.before(node);
    else this.root.append(node);
    return node;
  }

  // What the model is not sent of the thread.
  #tellHistory({ type, dropped_messages: dropped, summarized_messages: summarized }) {
    if (type !== "history" || this.root.querySelector(".history")) return;
    const words = dropped
      ? `The model is not sent the ${dropped} oldest messages: the conversation is longer than it takes.`
      : `The ${summarized} oldest messages are sent to the model as a summary.`;
    this.#add(element("p", { class: "note history" }, words));
  }

  #begin(id, map, part, node) {
    this.flush();
    this.#add(node);
    map.set(id, part);
    this.discardable.push([id, map, node]);
  }

  // A call's events do not name their message: what came after its beginning is of that try.
  #takeBack(messageId) {
    const at = this.discardable.findIndex(([id]) => id === messageId);
    for (const [id, map, node] of this.discardable.splice(Math.max(0, at))) {
      map.delete(id);
      node.remove();
    }
  }

  // A node's path of several names is a graph within the graph: what it writes is its own.
  #text(id, node) {
    if (!this.texts.has(id)) {
      const body = element("div", { class: "text", dir: "auto" });
      const agent = node?.includes("|") ? [element("p", { class: "note" }, node.split("|")[0])] : [];
      this.#begin(id, this.texts, new Markdown(body), agent.length ? element("div", {}, ...agent, body) : body);
      if (this.time === undefined) this.actions.writtenAt((this.time = timeOf(id)));
    }
    return this.texts.get(id);
  }

  #write(text, content) {
    text.append(content);
    if (!this.isLive) text.show();
    this.actions.root.hidden = this.isLive;
  }

  #thought(id) {
    if (!this.thoughts.has(id)) {
      const body = element("div", { class: "thought", dir: "auto" });
      const root = element("details", { class: "reasoning" }, element("summary", {}, "Reasoning"), body);
      this.#begin(id, this.thoughts, new Markdown(body), root);
    }
    return this.thoughts.get(id);
  }

  #card(id, tool) {
    if (!this.cards.has(id)) {
      const card = new ToolCard(id, tool);
      this.#begin(id, this.cards, card, card.root);
    }
    return this.cards.get(id);
  }

  // A run that the server lost is in the thread as far as it had come: it is continued from there.
  #fail({ code, message }) {
    const [words, onclick] = code === "run_lost" ? ["Go on", this.onContinueRun] : ["Try again", this.onRetry];
    const button = element("button", { type: "button", onclick }, words);
    this.#add(element("div", { class: "failure", role: "alert" }, element("p", {}, message), button));
  }

  #end(status, finishReason) {
    this.settle();
    this.actions.root.hidden = !this.texts.size;
    this.root.dataset.status = status;
    this.note(finishReason);
    if (status !== "interrupted") for (const card of this.cards.values()) card.leave();
  }

  // Why the answer is not whole.
  note(finishReason) {
    const words = FINISH_WORDS[finishReason];
    if (words) this.root.append(element("p", { class: "note" }, words));
  }

  // The person goes on without deciding.
  passOver() {
    for (const each of [...this.decisions, ...this.cards.values()]) each.passOver();
  }
}

// A request that still waits comes again with the next run.
function onceOnly(interruptId) {
  for (const card of document.querySelectorAll(".decision:not([data-decided])")) {
    if (card.dataset.interrupt === interruptId) card.remove();
  }
}

// The events that a message of the thread's state amounts to.
export function eventsOf(message) {
  if (message.type === "tool") {
    const status = message.status === "error" ? "error" : "ok";
    return [{ type: "tool_result", id: message.tool_call_id, tool: message.name, status, content: textOf(message), media: message.content }];
  }
  const events = [];
  const thought = message.additional_kwargs?.reasoning_content;
  if (thought) events.push({ type: "reasoning", message_id: message.id, content: thought });
  const text = textOf(message);
  if (text) events.push({ type: "token", message_id: message.id, content: text });
  for (const { id, name, args } of message.tool_calls ?? []) {
    events.push({ type: "tool_call", id, tool: name, args });
  }
  return events;
}
