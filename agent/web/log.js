// Where the conversation is shown: it follows the answer, unless the person has scrolled up to read.

import { byId, element } from "/page/dom.js";

export const log = byId("log");

let isAtEnd = true;
log.addEventListener("scroll", () => {
  isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
});

export function show(node, isForced = true) {
  log.append(node);
  welcome();
  stayAtEnd(isForced);
}

// In the next frame, after what is to be shown in it.
let frame = null;
export function stayAtEnd(isForced = false) {
  isAtEnd ||= isForced;
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(() => {
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  });
}

// Where the person reads; null at the end.
export const scrollPosition = () => (isAtEnd ? null : log.scrollTop);

export function scrollTo(position) {
  if (position !== null) log.scrollTop = position;
  isAtEnd = position === null;
}

export function welcome() {
  byId("welcome").hidden = log.childElementCount > 0;
}

export function removeLastAnswer() {
  while (log.lastChild && !log.lastChild.matches(".question")) log.lastChild.remove();
}

// An error that belongs to no answer, with a button of these words, if any.
export function tell(error, [words, onclick] = []) {
  const again = words ? [element("button", { type: "button", onclick }, words)] : [];
  show(element("div", { class: "failure", role: "alert" }, element("p", {}, error.message), ...again));
}
