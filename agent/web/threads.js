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
      this.#arrange(await threads());
    } catch (error) {
      this.onFault(error);
    }
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
    entry.firstChild.toggleAttribute("aria-current", isCurrent);
  }

  #entry(id) {
    const open = element("button", { type: "button", class: "thread", onclick: () => this.onOpen(id) });
    const remove = element("button", { type: "button", class: "quiet delete", onclick: () => this.#delete(id, open.firstChild.textContent) }, "×");
    const entry = element("li", { "data-thread": id }, open, remove);
    return entry;
  }

  #update(entry, { extracted, status }) {
    const title = titleOf(extracted?.title);
    const [open, remove] = entry.children;
    const badge = { interrupted: "waits", busy: "busy" }[status];
    open.replaceChildren(element("span", { class: "title" }, title), ...(badge ? [element("span", { class: "badge" }, badge)] : []));
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

function titleOf(content) {
  const text = Array.isArray(content) ? content.map((block) => block.text ?? "").join(" ") : content;
  return (text ?? "").trim().replaceAll(/\s+/g, " ").slice(0, 80) || "New conversation";
}
