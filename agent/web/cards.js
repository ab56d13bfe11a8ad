// A card in an answer: a tool call that fills as it is written.

import { attached } from "./attachments.js";
import { element, json } from "./dom.js";

export class ToolCard {
  constructor(id, tool) {
    this.written = "";
    this.name = element("span", { class: "tool-name" }, tool);
    this.status = element("span", { class: "tool-status" }, "writing…");
    this.args = element("code");
    this.result = element("pre", { class: "tool-result", hidden: true });
    this.media = element("div");
    const summary = element("summary", {}, this.name, this.status);
    this.root = element(
      "details",
      { class: "tool", open: true, "data-tool": id, "data-status": "writing", "aria-label": `Tool ${tool}` },
      summary,
      element("pre", { class: "tool-args" }, this.args),
      this.result,
      this.media,
    );
  }

  write(text) {
    this.written += text;
    this.args.textContent = this.written;
  }

  call(tool, args) {
    this.name.textContent = tool;
    this.args.textContent = json(args);
    this.#show("running", "running…");
  }

  answer(status, content, media = []) {
    this.result.textContent = content;
    this.media.replaceChildren(...attached(media));
    this.result.hidden = false;
    this.#show(...outcome(status, content));
  }

  wait() {
    if (this.root.dataset.status === "running") this.#show("waiting", "waits for you");
  }

  // A decision was taken, and the run goes on.
  continue() {
    if (this.root.dataset.status === "waiting") this.#show("running", "running…");
  }

  leave() {
    if (["writing", "running"].includes(this.root.dataset.status)) this.#show("stopped", "stopped");
  }

  // The person went on without deciding.
  passOver() {
    if (this.root.dataset.status === "waiting") this.#show("stopped", "not carried out");
  }

  #show(status, words) {
    this.root.dataset.status = status;
    this.status.textContent = words;
  }
}

// How the result of a call that was not carried out begins: LangChain's words for a rejection, and
// those of agent/middleware/open_calls.py.
const NOT_CARRIED_OUT = [
  ["User rejected the tool call", "rejected", "rejected"],
  ["Stopped before there was a result.", "stopped", "stopped"],
  ["There is no result: the person went on", "stopped", "not carried out"],
];

function outcome(status, content) {
  if (status === "ok") return ["ok", "done"];
  const [, ...words] = NOT_CARRIED_OUT.find(([start]) => content.startsWith(start)) ?? [];
  return words.length ? words : ["error", "failed"];
}
