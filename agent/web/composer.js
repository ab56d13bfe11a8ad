// What the person writes: the message, what the next one is said instead of, and what has to wait.

import { byId, element, isLost } from "./dom.js";

const IME_KEY = 229; // Safari's Enter that ends a composition comes after the composition's end

export class Composer {
  // `onSend` gets the text; `onCancel` is called when it is to go on from the thread's present after all.
  constructor({ onSend, onCancel }) {
    this.root = byId("composer");
    this.message = byId("message");
    this.onCancel = onCancel;
    this.waiting = []; // sent while an answer is written, to go when it has ended
    this.notice();
    this.message.addEventListener("input", () => this.#grow());
    this.message.addEventListener("keydown", (event) => {
      const isComposing = event.isComposing || event.keyCode === IME_KEY;
      if (event.key !== "Enter" || event.shiftKey || isComposing) return;
      event.preventDefault();
      this.root.requestSubmit();
    });
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.message.value;
      if (!text.trim()) return;
      this.write("");
      onSend(text);
    });
  }

  write(text) {
    this.message.value = text;
    this.#grow();
  }

  focus() {
    this.message.focus();
  }

  #grow() {
    this.message.rows = Math.min(8, this.message.value.split("\n").length);
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

  wait(text) {
    this.#await([...this.waiting, text]);
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
  restore(text, { words, fields, before }) {
    this.#insert([text]);
    this.notice(words, fields, before);
  }

  #insert(texts) {
    if (texts.length) this.write([...texts, this.message.value].filter(Boolean).join("\n"));
  }

  get isEmpty() {
    return !this.message.value.trim();
  }

  submit() {
    this.root.requestSubmit();
  }

  #await(texts) {
    this.waiting = texts;
    byId("waiting").hidden = !texts.length;
    byId("waiting").textContent = `Goes next: ${texts.join(" · ")}`;
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
