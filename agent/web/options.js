// What a run is asked for beside the message: the assistant, and the model and temperature where its
// graph lets a run choose them. Kept in this browser.

import * as api from "./api.js";
import { byId, element } from "./dom.js";

const KEY = "options";
const DEFAULT = "agent";
const FIELDS = { model: String, temperature: Number };

let options = { assistant: DEFAULT, model: "", temperature: "" };
let assistants = []; // of the server
let known = Object.keys(FIELDS); // fields that the assistant's graph takes

// The fields of a run. One that goes on has its assistant already.
export function chosen(type) {
  const isNew = ["message", "regenerate"].includes(type);
  const context = {};
  for (const field of known) if (options[field] !== "") context[field] = FIELDS[field](options[field]);
  return {
    ...(isNew && options.assistant !== DEFAULT ? { assistant_id: options.assistant } : {}),
    ...(Object.keys(context).length ? { context } : {}),
  };
}

// `onAssistant` is called with the id of the assistant that is chosen.
export async function watchOptions(onAssistant) {
  Object.assign(options, JSON.parse(localStorage.getItem(KEY) ?? "{}"));
  assistants = await api.assistants();
  const select = byId("assistant");
  select.replaceChildren(...assistants.map((it) => element("option", { value: valueOf(it) }, it.name ?? it.graph_id)));
  if (!assistants.some((it) => valueOf(it) === options.assistant)) options.assistant = DEFAULT;
  for (const [name, field] of [["assistant", select], ["model", byId("model")], ["temperature", byId("temperature")]]) {
    field.value = options[name];
    field.addEventListener("change", () => {
      if (!field.reportValidity()) return;
      options[name] = field.value.trim();
      localStorage.setItem(KEY, JSON.stringify(options));
      show(onAssistant);
    });
  }
  await show(onAssistant);
}

async function show(onAssistant) {
  const assistant = assistants.find((it) => valueOf(it) === options.assistant);
  if (!assistant) return;
  onAssistant(assistant.assistant_id);
  known = (await api.contextFields(assistant.assistant_id)).filter((field) => field in FIELDS);
  for (const field of Object.keys(FIELDS)) byId(field).parentElement.hidden = !known.includes(field);
  const others = [options.assistant === DEFAULT ? "" : assistant.name, ...known.map((field) => options[field])];
  const words = others.filter(Boolean).join(" · ");
  byId("options-summary").textContent = words ? `Options: ${words}` : "Options";
}

// The assistant that comes with a graph has the graph's name.
function valueOf({ assistant_id: id, graph_id: graph, metadata }) {
  return metadata?.created_by === "system" ? graph : id;
}
