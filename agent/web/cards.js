// Cards in an answer: a tool call that fills as it is written, and a decision that a person makes.

import { element, json } from "./dom.js";

export class ToolCard {
  constructor(id, tool) {
    this.written = "";
    this.name = element("span", { class: "tool-name" }, tool);
    this.status = element("span", { class: "tool-status" }, "writing…");
    this.args = element("code");
    this.result = element("pre", { class: "tool-result", hidden: true });
    const summary = element("summary", {}, this.name, this.status);
    this.root = element(
      "details",
      { class: "tool", open: true, "data-tool": id, "data-status": "writing", "aria-label": `Tool ${tool}` },
      summary,
      element("pre", { class: "tool-args" }, this.args),
      this.result,
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

  answer(status, content) {
    this.result.textContent = content;
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

// LangChain's human-in-the-loop request: each action is decided, then all go as one. `onDecide`
// returns the error's message if they are not taken.
export class DecisionCard {
  constructor({ id, requests }, onDecide) {
    this.id = id;
    this.onDecide = onDecide;
    const actions = requests?.action_requests ?? [];
    const reviews = requests?.review_configs ?? [];
    this.decisions = new Array(actions.length).fill(null);
    this.root = element(
      "section",
      { class: "decision", "aria-label": "Waits for your decision" },
      element("h3", {}, "Waits for your decision"),
      ...actions.map((action, at) => this.#action(action, at, allowed(reviews, action.name))),
    );
    if (!actions.length) this.root.append(element("pre", {}, json(requests)));
  }

  async #send() {
    this.#mark(true);
    const fault = await this.onDecide(this.id, this.decisions);
    if (!fault) return;
    this.#mark(false);
    this.decisions.fill(null);
    for (const box of this.root.querySelectorAll("fieldset")) decided(box, null);
    this.root.querySelector(".fault").textContent = fault;
    this.root.querySelector("button").focus();
  }

  // The person went on without deciding.
  passOver() {
    if (this.root.hasAttribute("data-decided")) return;
    this.#mark(true);
    for (const box of this.root.querySelectorAll("fieldset")) decided(box, { type: "none" });
  }

  #mark(isDecided) {
    this.root.toggleAttribute("data-decided", isDecided);
    this.root.setAttribute("aria-label", isDecided ? "Your decision" : "Waits for your decision");
  }

  #action({ name, args, description }, at, kinds) {
    const written = json(args);
    const rows = Math.min(10, written.split("\n").length);
    const words = element("textarea", { rows, "aria-label": `Arguments of ${name}`, spellcheck: "false" });
    words.value = written;
    words.readOnly = !kinds.includes("edit");
    const reason = element("input", { type: "text", placeholder: "Reason or answer", "aria-label": `Reason, about ${name}` });
    const fault = element("p", { class: "fault", role: "alert" });
    const decide = (kind) => () => {
      try {
        this.decisions[at] = decision(kind, name, args, words.value, reason.value);
      } catch {
        fault.textContent = "The arguments are not valid JSON.";
        return;
      }
      fault.textContent = "";
      decided(box, this.decisions[at]);
      if (this.decisions.every(Boolean)) this.#send();
      else this.root.querySelector("button:enabled").focus();
    };
    const button = (kind, label) =>
      kinds.includes(kind) ? [element("button", { type: "button", class: kind, onclick: decide(kind) }, label)] : [];
    const box = element(
      "fieldset",
      {},
      element("legend", {}, name),
      element("p", { class: "verdict", hidden: true }),
      ...(description ? [element("p", {}, description)] : []),
      words,
      reason,
      element(
        "div",
        { class: "choices" },
        ...button("approve", "Approve"),
        ...button("edit", "Approve as edited"),
        ...button("respond", "Respond"),
        ...button("reject", "Reject"),
      ),
      fault,
    );
    return box;
  }
}

// What was decided takes the place of the controls.
function decided(box, decision) {
  for (const node of box.children) node.hidden = Boolean(decision) && node.nodeName !== "LEGEND";
  for (const control of box.querySelectorAll("button, textarea, input")) control.disabled = Boolean(decision);
  const verdict = box.querySelector(".verdict");
  verdict.hidden = !decision;
  verdict.textContent = decision ? inWords(decision) : "";
}

function inWords({ type, message }) {
  const verb = { approve: "Approved", edit: "Approved as edited", respond: "Answered", reject: "Rejected", none: "Not decided" }[type];
  return message ? `${verb}: ${message}` : `${verb}.`;
}

function allowed(reviews, name) {
  const found = reviews.find((review) => review.action_name === name);
  return found?.allowed_decisions ?? ["approve", "reject"];
}

function decision(kind, name, args, edited, words) {
  if (kind === "edit") return { type: "edit", edited_action: { name, args: JSON.parse(edited) } };
  if (kind === "reject") return { type: "reject", ...(words ? { message: words } : {}) };
  if (kind === "respond") return { type: "respond", message: words };
  return { type: "approve" };
}
