// The list of conversations.

import { deleteThread, firstContents, setMetadata, threads } from "./api.js";
import { titleOf } from "./content.js";
import { byId, element, isEnter } from "./dom.js";

const FIRST = 50;
const MORE = 100;
const TYPING_MS = 200;

export class ThreadList {
  constructor({ onOpen, onDeleted, onFault }) {
    this.onOpen = onOpen;
    this.onDeleted = onDeleted;
    this.onFault = onFault;
    this.root = byId("thread-list");
    this.search = byId("thread-search");
    this.more = byId("more-threads");
    this.current = null;
    this.count = FIRST; // of threads that are asked for
    this.firstWords = new Map(); // thread id -> what its first message says: asked for once
    this.more.addEventListener("click", () => {
      this.count += MORE;
      this.refresh();
    });
    let typing = null;
    this.search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.refresh(), TYPING_MS);
    });
  }

  // What is asked for while an answer is on its way is asked once, after it.
  async refresh() {
    if (this.isAsking) return (this.isToAskAgain = true);
    this.isAsking = true;
    await this.#ask();
    this.isAsking = false;
    if (!this.isToAskAgain) return;
    this.isToAskAgain = false;
    await this.refresh();
  }

  async #ask() {
    const words = this.search.value.trim().toLowerCase();
    try {
      const found = await threads(words ? Infinity : this.count);
      await this.#learnFirstWords(found);
      const known = found.map((thread) => ({ ...thread, title: this.#title(thread) }));
      this.#arrange(known.filter(({ title }) => title.toLowerCase().includes(words)));
      byId("none-found").textContent = words && !this.root.childElementCount ? "No title has these words." : "";
      this.more.hidden = Boolean(words) || found.length < this.count;
    } catch (error) {
      this.onFault(error);
    }
  }

  async #learnFirstWords(found) {
    const isNew = ({ thread_id: id, metadata }) => !metadata?.title && !this.firstWords.has(id);
    const contents = await firstContents(found.filter(isNew).map(({ thread_id: id }) => id));
    for (const [id, content] of contents) this.add(id, titleOf(content));
  }

  // A conversation that begins with these words.
  add(id, title) {
    this.firstWords.set(id, title);
  }

  #title({ thread_id: id, metadata }) {
    return metadata?.title || this.firstWords.get(id) || metadata?.thread_name || titleOf("");
  }

  // Entries stay the same nodes, and whoever is on one stays there.
  #arrange(threads) {
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    const known = new Map([...this.root.children].map((entry) => [entry.dataset.thread, entry]));
    const entries = threads.map((thread) => this.#update(known.get(thread.thread_id) ?? this.#entry(thread.thread_id), thread));
    for (const entry of known.values()) if (!entries.includes(entry)) entry.remove();
    entries.forEach((entry, at) => {
      if (this.root.children[at] !== entry) this.root.insertBefore(entry, this.root.children[at] ?? null);
    });
    if (!focused || document.activeElement === focused) return;
    (focused.isConnected ? focused : byId("new-thread")).focus({ preventScroll: true });
  }

  mark(threadId) {
    this.current = threadId;
    for (const entry of this.root.children) this.#lit(entry);
  }

  #lit(entry) {
    const isCurrent = entry.dataset.thread === this.current;
    entry.querySelector(".thread").toggleAttribute("aria-current", isCurrent);
  }

  #entry(id) {
    const open = element("button", { type: "button", class: "thread", onclick: () => this.onOpen(id) });
    const title = () => open.firstChild.textContent;
    const rename = element("button", { type: "button", class: "quiet delete rename", onclick: () => this.#rename(entry, title()) }, "✎");
    const remove = element("button", { type: "button", class: "quiet delete", onclick: () => this.#delete(id, title()) }, "×");
    const entry = element("li", { "data-thread": id }, open, rename, remove);
    return entry;
  }

  // In its place; Escape leaves it as it was.
  #rename(entry, title) {
    const field = element("input", { class: "title-field", "aria-label": "Title", maxlength: 80, value: title });
    const [open, rename] = entry.children;
    let isOver = false; // what is removed is blurred once more
    const end = async (isKept) => {
      if (isOver) return;
      isOver = true;
      const words = field.value.trim();
      field.remove();
      open.hidden = false;
      rename.focus();
      if (!isKept || !words || words === title) return;
      await setMetadata(entry.dataset.thread, { title: words }).catch(this.onFault);
      await this.refresh();
    };
    field.addEventListener("keydown", (event) => {
      if (!isEnter(event) && (event.isComposing || event.key !== "Escape")) return;
      event.preventDefault(); // Enter would press the button that has the focus next
      event.stopPropagation(); // Escape stops no answer
      end(event.key === "Enter");
    });
    field.addEventListener("blur", () => end(true));
    open.hidden = true;
    entry.prepend(field);
    field.select();
  }

  #update(entry, { title, status, interrupts }) {
    const [open, rename, remove] = entry.querySelectorAll("button");
    // a stopped thread is "interrupted", too, where a thread has its interrupts
    const isWaiting = status === "interrupted" && Object.keys(interrupts ?? { unknown: true }).length > 0;
    const badge = isWaiting ? "waits" : status === "busy" ? "busy" : null;
    open.replaceChildren(element("span", { class: "title" }, title), ...(badge ? [element("span", { class: "badge" }, badge)] : []));
    rename.setAttribute("aria-label", `Rename ${title}`);
    remove.setAttribute("aria-label", `Delete ${title}`);
    this.#lit(entry);
    return entry;
  }

  async #delete(id, title) {
    if (!confirm(`Delete “${title}” and all of it?`)) return;
    try {
      await deleteThread(id);
      this.onDeleted(id);
    } catch (error) {
      this.onFault(error);
    }
    await this.refresh();
  }
}
