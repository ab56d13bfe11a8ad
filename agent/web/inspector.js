// Beside the chat: the graph with its active node, the run's steps, raw events, and figures.

import { byId, element, json } from "./dom.js";
import { GraphView } from "./graph.js";

const MOST_EVENTS = 1000;
const CHARACTERS_PER_TOKEN = 4; // for models that report no usage

export class Inspector {
  constructor() {
    this.graph = new GraphView(byId("graph"));
    this.steps = byId("steps");
    this.events = byId("events");
    this.filter = byId("event-filter");
    this.filter.addEventListener("input", () => this.#sift());
    this.begin();
  }

  get isOpen() {
    return !byId("inspector").hidden;
  }

  // A run begins now: figures count from here.
  begin() {
    this.started = performance.now();
    this.first = this.last = null;
    this.characters = this.tokens = 0;
    this.count = null;
    this.steps.replaceChildren();
    this.events.replaceChildren();
    this.#figures();
  }

  take(event) {
    const at = performance.now();
    if (event.type === "token") {
      this.first ??= at;
      this.last = at;
      this.characters += event.content.length;
      this.graph.light(event.node);
    }
    if (event.type === "tool_call") this.graph.light("tools");
    if (event.type === "usage") this.tokens += event.output_tokens;
    if (event.type === "update") this.#step(at, event.node, event.delta);
    if (event.type === "values") this.#values(at, event.state);
    if (event.type === "done") this.graph.light(null);
    if (this.isOpen) this.#event(at, event);
    if (event.type === "done" || event.type === "usage" || this.first === at) this.#figures();
  }

  #step(at, node, delta) {
    this.graph.light(node);
    const changed = (delta?.messages ?? []).map(brief).join("; ") || Object.keys(delta ?? {}).join(", ");
    this.steps.append(this.#entry(at, node, changed, delta));
  }

  #values(at, state) {
    const count = state.messages?.length ?? 0;
    const more = this.count === null ? `messages: ${count}` : `messages: ${count} (+${count - this.count})`;
    this.count = count;
    this.steps.append(this.#entry(at, "values", more, state));
  }

  #entry(at, name, words, data) {
    const time = element("time", {}, `${((at - this.started) / 1000).toFixed(2)} s`);
    const summary = element("summary", {}, time, element("b", {}, name), element("span", {}, words));
    return element("li", {}, lazily(element("details", {}, summary), data));
  }

  #event(at, event) {
    const name = event.type === "event" ? event.name : event.type;
    const words = event.type === "event" ? event.run_name : shortly(event);
    const entry = this.#entry(at, name, words, event);
    entry.hidden = !this.#fits(entry);
    this.events.append(entry);
    while (this.events.childNodes.length > MOST_EVENTS) this.events.firstChild.remove();
  }

  #fits(entry) {
    return entry.textContent.toLowerCase().includes(this.filter.value.toLowerCase());
  }

  #sift() {
    for (const entry of this.events.children) entry.hidden = !this.#fits(entry);
  }

  #figures() {
    const seconds = this.last > this.first ? (this.last - this.first) / 1000 : null;
    const tokens = this.tokens || Math.round(this.characters / CHARACTERS_PER_TOKEN);
    const figures = {
      "First token": this.first === null ? "–" : `${Math.round(this.first - this.started)} ms`,
      "Tokens a second": seconds ? (tokens / seconds).toFixed(0) : "–",
      Tokens: this.characters ? `${this.tokens ? "" : "about "}${tokens}` : "–",
    };
    byId("figures").replaceChildren(
      ...Object.entries(figures).map(([name, figure]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, figure)),
      ),
    );
  }
}

// What is inside is made when it is first looked at: a run may have thousands of events.
function lazily(details, data) {
  details.addEventListener("toggle", () => details.append(element("pre", {}, json(data))), { once: true });
  return details;
}

function brief(message) {
  const calls = (message.tool_calls ?? []).map((call) => `${call.name}(…)`).join(", ");
  const text = typeof message.content === "string" ? message.content : "";
  return `${message.type} ${text.slice(0, 60)}${calls}`;
}

function shortly({ type, ...fields }) {
  return JSON.stringify(fields).slice(0, 120);
}
