// The page: one conversation at a time, its list, its composer, and the inspector beside it.

import * as api from "./api.js";
import { Composer } from "./composer.js";
import { byId, element } from "./dom.js";
import { Inspector } from "./inspector.js";
import { log, tell } from "./log.js";
import { watchMemories } from "./memories.js";
import { watchOptions } from "./options.js";
import { Thread } from "./thread.js";
import { ThreadList } from "./threads.js";
import { watchToken } from "./token.js";

const LOOK_AGAIN_MS = 4000;

byId("not-loaded").remove();

const inspector = new Inspector();
const list = new ThreadList({
  onOpen: (id) => (location.hash = id),
  onDeleted: (id) => id === thread.id && startNew(),
  onFault: tell,
});
const composer = new Composer({
  onSend: (content) => turns.send(content),
  onCancel: () => (thread.id ? thread.open(thread.id) : thread.startNew()),
});
const thread = new Thread({ composer, inspector, list });
const { turns } = thread;

function startNew() {
  thread.startNew();
  closeThreads();
  composer.focus();
}

const threadInAddress = () => /^#([0-9a-f-]{36})$/.exec(location.hash)?.[1];
addEventListener("hashchange", () => {
  const id = threadInAddress();
  if (id && id !== thread.id) thread.open(id);
  if (!id && thread.id) startNew(); // the browser's Back leads out of the thread
});

const lookAgain = () => thread.lookAgain();
document.addEventListener("visibilitychange", lookAgain);
addEventListener("focus", lookAgain);
setInterval(lookAgain, LOOK_AGAIN_MS);

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

function openInspector(isOpen) {
  byId("inspector").hidden = !isOpen;
  byId("open-inspector").setAttribute("aria-expanded", String(isOpen));
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing) return;
  if (closeThreads()) byId("open-threads").focus();
  else turns.stopAll();
});
// Who begins to type, with the focus nowhere, writes a message.
document.addEventListener("keydown", (event) => {
  const isLetter = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (isLetter && document.activeElement === document.body && byId("sign-in").hidden) composer.focus();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address keeps the thread
  composer.focus();
});
byId("stop").addEventListener("click", () => turns.stopAll());
byId("new-thread").addEventListener("click", startNew);
byId("open-threads").addEventListener("click", () => closeThreads() || openThreads(true));
byId("thread-list").addEventListener("click", ({ target }) => {
  if (target.closest(".thread") && closeThreads()) log.focus();
});
byId("show-history").addEventListener("click", () => thread.showHistory().catch(tell));
byId("open-inspector").addEventListener("click", () => {
  openInspector(!inspector.isOpen);
  if (inspector.isOpen) localStorage.setItem("inspector", "open");
  else localStorage.removeItem("inspector");
});
byId("transport").value = localStorage.getItem("transport") ?? "sse";
byId("transport").addEventListener("change", ({ target }) => localStorage.setItem("transport", target.value));
api.about().then(({ name, introduction, examples }) => {
  document.title = byId("name").textContent = name;
  byId("introduction").textContent = introduction;
  byId("examples").append(
    ...examples.map((text) =>
      element("li", {}, element("button", { type: "button", onclick: () => turns.ask(text) }, text)),
    ),
  );
}, tell);
watchMemories(tell);
watchToken();

openInspector(localStorage.getItem("inspector") === "open");
list.refresh();
watchOptions(async (assistantId) => inspector.graph.show(await api.graph(assistantId))).catch(() => {});
if (threadInAddress()) thread.open(threadInAddress());
