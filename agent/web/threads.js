// The list of conversations.

import { deleteThread, threads } from "/page/api.js";
import { byId, element } from "/page/dom.js";

export class ThreadList {
  constructor({ onOpen, onDeleted, onFault }) {
    this.onOpen = onOpen;
    this.onDeleted = onDeleted;
    this.onFault = onFault;
    this.root = byId("thread-list");
    this.current = null;
  }

  async refresh() {
    try {
      this.root.replaceChildren(...(await threads()).map((thread) => this.#entry(thread)));
    } catch (error) {
      this.onFault(error);
    }
  }

  mark(threadId) {
    this.current = threadId;
    for (const entry of this.root.children) this.#lit(entry);
  }

  #lit(entry) {
    const isCurrent = entry.dataset.thread === this.current;
    entry.firstChild.toggleAttribute("aria-current", isCurrent);
  }

  #entry({ thread_id: id, extracted, status }) {
    const title = titleOf(extracted?.title);
    const open = element("button", { type: "button", class: "thread", onclick: () => this.onOpen(id) }, title);
    if (status === "interrupted") open.append(element("span", { class: "badge" }, "waits"));
    if (status === "busy") open.append(element("span", { class: "badge" }, "busy"));
    const remove = element(
      "button",
      { type: "button", class: "quiet delete", "aria-label": `Delete ${title}`, onclick: () => this.#delete(id, title) },
      "×",
    );
    const entry = element("li", { "data-thread": id }, open, remove);
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

function titleOf(content) {
  const text = Array.isArray(content) ? content.map((block) => block.text ?? "").join(" ") : content;
  return (text ?? "").trim().replaceAll(/\s+/g, " ").slice(0, 80) || "New conversation";
}
