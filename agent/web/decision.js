// A card in an answer: what a run waits for, and a person decides or answers.

import { element, json } from "./dom.js";

// LangChain's human-in-the-loop request: each action is decided, then all go as one. `onDecide`
// returns the error's message if they are not taken.
export class DecisionCard {
  constructor({ id, requests, response_schema: schema }, onDecide) {
    this.id = id;
    this.onDecide = onDecide;
    this.isOneCall = requests?.type === "tool_approval";
    const actions = this.isOneCall ? [requests] : requests?.action_requests ?? [];
    const kinds = (name) => (this.isOneCall ? allowedBy(schema) : allowed(requests.review_configs ?? [], name));
    this.decisions = new Array(actions.length || 1).fill(null);
    this.root = element(
      "section",
      { class: "decision", "aria-label": "Waits for your decision", "data-interrupt": id },
      element("h3", {}, "Waits for your decision"),
      ...actions.map((action, at) => this.#action(action, at, kinds(action.name))),
    );
    if (!actions.length) this.root.append(this.#question(requests, schema));
  }

  // LangChain's batch has a form of its own; every other request is answered by its id.
  async #send() {
    this.#mark(true);
    const isBatch = !this.isOneCall && !this.isAnswered;
    const fields = isBatch ? { interrupt_id: this.id, decisions: this.decisions } : { answers: { [this.id]: this.decisions[0] } };
    const fault = await this.onDecide(isBatch ? "decide" : "resume", fields);
    if (!fault) return;
    this.#mark(false);
    this.decisions.fill(null);
    for (const box of this.root.querySelectorAll("fieldset")) decided(box, null);
    this.isAnswered = false;
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

  // A graph's own `interrupt(value)`: the answer is what it asks for, as its schema says, or a text.
  #question(value, schema) {
    const fault = element("p", { class: "fault", role: "alert" });
    const send = (answer, words) => {
      this.isAnswered = true;
      this.decisions[0] = answer;
      decided(box, { type: "respond", message: words });
      this.#send();
    };
    const choices = schema?.enum ?? (schema?.type === "boolean" ? [true, false] : null);
    const label = (choice) => ({ true: "Yes", false: "No" })[choice] ?? (typeof choice === "string" ? choice : JSON.stringify(choice));
    const field = element("textarea", { rows: 2, "aria-label": "Your answer", dir: "auto" });
    const answer = () => {
      try {
        send(answerOf(field.value, schema), field.value);
      } catch {
        fault.textContent = `The answer is not valid JSON${schema?.type ? ` of type ${schema.type}` : ""}.`;
      }
    };
    const controls = choices
      ? choices.map((choice) => element("button", { type: "button", onclick: () => send(choice, label(choice)) }, label(choice)))
      : [element("button", { type: "button", onclick: answer }, "Answer")];
    const box = element(
      "fieldset",
      {},
      element("legend", {}, schema?.title ?? "Question"),
      element("p", { class: "verdict", hidden: true }),
      typeof value === "string" ? element("p", { dir: "auto" }, value) : element("pre", {}, json(value)),
      ...(choices ? [] : [field]),
      element("div", { class: "choices" }, ...controls),
      fault,
    );
    return box;
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

const isText = (schema) => !schema?.type || schema.type === "string";

// Throws SyntaxError for what has to be JSON and is none.
function answerOf(text, schema) {
  if (!isText(schema)) return JSON.parse(text);
  if (schema?.type || !/^\s*[[{]/.test(text)) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const KINDS = ["approve", "edit", "respond", "reject"];

// The kinds of decisions that a schema of the answer names.
function allowedBy(schema) {
  const words = JSON.stringify(schema ?? {});
  const named = KINDS.filter((kind) => words.includes(`"${kind}"`));
  return named.length ? named : ["approve", "reject"];
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
