// What the person writes: the message and what is attached, what it goes on from, and what has to wait.

import { Attachments } from "./attachments.js";
import { contentOf, textOf } from "./content.js";
import { byId, element, isEnter, isLost } from "./dom.js";

const DRAFT = "draft";

export class Composer {
  // `onSend` gets the content; `onCancel` is called when it is to go on from the thread's present after all.
  constructor({ onSend, onCancel }) {
    this.root = byId("composer");
    this.message = byId("message");
    this.attachments = new Attachments(this.root);
    this.onCancel = onCancel;
    this.waiting = []; // sent while an answer is written, to go when it has ended
    this.notice();
    this.message.addEventListener("input", () => this.#grow());
    this.message.addEventListener("keydown", (event) => {
      if (!isEnter(event)) return;
      event.preventDefault();
      this.root.requestSubmit();
    });
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.isEmpty) return;
      const content = contentOf(this.message.value, this.attachments.take());
      this.write("");
      onSend(content);
    });
    // what is not sent yet is there after a reload, in this tab
    this.write(sessionStorage.getItem(DRAFT) ?? "");
    addEventListener("pagehide", () => sessionStorage.setItem(DRAFT, this.#unsent(this.waiting)));
  }

  write(text) {
    this.message.value = text;
    this.#grow();
  }

  focus() {
    this.message.focus();
  }

  // As high as what is written, up to what the stylesheet allows.
  #grow() {
    const { style } = this.message;
    style.height = "auto";
    style.height = `${this.message.scrollHeight}px`;
  }

  // Of a message that is sent while an answer is written.
  get multitaskStrategy() {
    return byId("multitask-strategy").value;
  }

  busy(isBusy) {
    const focused = document.activeElement;
    byId("multitask-strategy").hidden = !isBusy;
    byId("stop").hidden = !isBusy;
    if (this.root.contains(focused) && isLost(focused)) this.focus();
  }

  // ---- what waits

  wait(content) {
    this.#await([...this.waiting, content]);
  }

  next() {
    const [next, ...rest] = this.waiting;
    this.#await(rest);
    return next;
  }

  // What waited goes back to where it was written.
  putBack() {
    this.#insert(this.waiting);
    this.#await([]);
  }

  // A message that was not taken, and what it was to go on from.
  restore(content, { words, fields, before }) {
    this.#insert([content]);
    this.notice(words, fields, before);
  }

  #insert(contents) {
    if (!contents.length) return;
    this.write(this.#unsent(contents));
    const lists = contents.filter(Array.isArray);
    this.attachments.add(...lists.flatMap((blocks) => blocks.filter((block) => textOf({ content: [block] }) === "")));
  }

  #unsent(contents) {
    const texts = contents.map((content) => textOf({ content }));
    return [...texts, this.message.value].filter(Boolean).join("\n");
  }

  get isEmpty() {
    return !this.message.value.trim() && !this.attachments.count;
  }

  submit() {
    this.root.requestSubmit();
  }

  #await(contents) {
    this.waiting = contents;
    byId("waiting").hidden = !contents.length;
    byId("waiting").textContent = `Goes next: ${contents.map((content) => textOf({ content })).join(" · ")}`;
  }

  // ---- what the next message goes on from

  // Where that is not the thread's present: an earlier state, or a message that it is said instead of.
  // `before` makes room for it in the log, once it is sent.
  notice(words = "", fields = {}, before = () => {}) {
    this.base = { words, fields, before };
    const onclick = () => {
      this.onCancel();
      this.focus();
    };
    const cancel = element("button", { type: "button", class: "small", onclick }, "Cancel");
    byId("notice").replaceChildren(words, ...(words ? [cancel] : []));
    byId("notice").hidden = !words;
  }

  takeBase() {
    const { base } = this;
    base.before();
    this.notice();
    return base;
  }

  get isElsewhere() {
    return Object.keys(this.base.fields).length > 0;
  }
}
