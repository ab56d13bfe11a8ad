// What can be done with a message: it is copied, said differently, answered anew, and has versions.

import { element } from "./dom.js";
import { timeInWords } from "./times.js";

const COPIED_MS = 2000;

export class Actions {
  // `words` gives the text to copy; `kind` is what it is called: "message" or "answer".
  constructor(kind, words) {
    this.kind = kind;
    this.versions = element("span", { class: "versions", role: "group", "aria-label": `Versions of this ${kind}`, hidden: true });
    this.time = element("time", { hidden: true });
    const copy = element("button", { type: "button", class: "quiet small", "aria-label": `Copy ${kind}` }, "Copy");
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(words());
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), COPIED_MS);
    });
    this.root = element("div", { class: "actions" }, this.versions, copy, this.time);
  }

  writtenAt(ms) {
    if (ms === null) return;
    this.time.hidden = false;
    this.time.dateTime = new Date(ms).toISOString();
    this.time.textContent = timeInWords(ms);
    this.time.title = new Date(ms).toLocaleString();
  }

  offer(words, className, onclick) {
    if (this.root.querySelector(`.${className}`)) return;
    this.time.before(element("button", { type: "button", class: `quiet small ${className}`, onclick }, words));
  }

  // Arrows between versions; `onChoose` gets the number of the one to show, from 0.
  choose(number, count, onChoose) {
    const arrow = (words, label, to) =>
      element("button", { type: "button", class: "quiet small", "aria-label": `${label} ${this.kind}`, disabled: to < 0 || to >= count, onclick: () => onChoose(to) }, words);
    this.versions.replaceChildren(
      arrow("‹", "Previous", number - 2),
      element("span", {}, `${number}/${count}`),
      arrow("›", "Next", number),
    );
    this.versions.hidden = false;
  }
}
