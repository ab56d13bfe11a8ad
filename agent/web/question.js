// What a person asked: it can be copied, and, once it has an id, said differently in its place.

import { Actions } from "./actions.js";
import { attached } from "./attachments.js";
import { textOf } from "./content.js";
import { element, isEnter } from "./dom.js";

export class Question {
  // `onReplace` is called with this and the new text; it returns false where that cannot be now.
  constructor(content, onReplace) {
    this.content = content;
    this.text = textOf({ content });
    this.onReplace = onReplace;
    this.id = null;
    this.actions = new Actions("message", () => this.text);
    this.words = element("p", { dir: "auto" }, this.text);
    this.bubble = element("div", { class: "bubble" }, this.words, ...attached(content));
    this.root = element("article", { class: "question", "aria-label": "You" }, this.bubble, this.actions.root);
  }

  editable(id) {
    this.id = id;
    this.root.dataset.message = id;
    this.actions.offer("Edit", "edit", () => this.#edit());
  }

  #edit() {
    const rows = Math.min(10, this.text.split("\n").length + 1);
    const field = element("textarea", { "aria-label": "New words", rows, dir: "auto" });
    field.value = this.text;
    const close = () => {
      form.remove();
      this.bubble.hidden = this.actions.root.hidden = false;
      this.actions.root.querySelector(".edit").focus();
    };
    const form = element(
      "form",
      { class: "editor", "aria-label": "Edit your message" },
      field,
      element("button", { type: "button", onclick: close }, "Cancel"),
      element("button", { type: "submit", class: "primary" }, "Ask this instead"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) this.onReplace(this, field.value);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) {
        event.stopPropagation(); // it stops no answer
        close();
      }
      if (!isEnter(event)) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.bubble.hidden = this.actions.root.hidden = true;
    this.root.append(form);
    field.focus();
  }
}
