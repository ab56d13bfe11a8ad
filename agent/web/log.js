// Where the conversation is shown: it follows the answer until the person scrolls up to read.

import { byId, element } from "./dom.js";

export const log = byId("log"); // what scrolls
export const turnList = byId("turns"); // what is in it
const toEnd = byId("to-end");

const NEAR_PX = 40;
let isFollowing = true;
let lastTop = 0;

const distance = () => log.scrollHeight - log.scrollTop - log.clientHeight;
const openDecision = () => turnList.querySelector(".decision:not([data-decided])");

function follow(isToFollow) {
  isFollowing = isToFollow;
  log.classList.toggle("following", isFollowing);
  if (isFollowing) {
    log.scrollTop = log.scrollHeight;
    openDecision()?.querySelector("button")?.scrollIntoView({ block: "nearest" });
    lastTop = log.scrollTop; // nobody scrolled up
  }
  offerEnd();
}

// What the page itself scrolls goes down; where it goes up, a person did it, or it got shorter.
log.addEventListener("scroll", () => {
  const isUp = log.scrollTop < lastTop;
  lastTop = log.scrollTop;
  if (distance() < (isUp ? 1 : NEAR_PX)) isFollowing || follow(true);
  else if (isUp) follow(false);
});
const sizes = new ResizeObserver(() => (isFollowing ? follow(true) : offerEnd()));
sizes.observe(log);
sizes.observe(turnList);

function offerEnd() {
  const wasFocused = document.activeElement === toEnd;
  toEnd.hidden = isFollowing || distance() < NEAR_PX;
  toEnd.textContent = openDecision() ? "↓ Waits for your decision" : "↓ Jump to the end";
  if (toEnd.hidden && wasFocused) (openDecision()?.querySelector("button:enabled") ?? log).focus({ preventScroll: true });
}
toEnd.addEventListener("click", () => follow(true));

export function show(node, isForced = true) {
  turnList.append(node);
  welcome();
  if (isForced) follow(true);
}

export const goToEnd = () => follow(true);

// Where the person reads; null at the end.
export const scrollPosition = () => (isFollowing ? null : log.scrollTop);

export function scrollTo(position) {
  follow(position === null);
  if (position !== null) log.scrollTop = position;
}

export function welcome() {
  byId("welcome").hidden = turnList.childElementCount > 0;
}

export function removeLastAnswer() {
  while (turnList.lastChild && !turnList.lastChild.matches(".question")) turnList.lastChild.remove();
}

// What was not taken by the server, and is not in the thread.
export function removeRefused() {
  for (const node of turnList.querySelectorAll("[data-refused]")) node.remove();
}

// An error that belongs to no answer, with a button of these words, if any.
export function tell(error, [words, onclick] = []) {
  const again = words ? [element("button", { type: "button", onclick }, words)] : [];
  show(element("div", { class: "failure", role: "alert" }, element("p", {}, error.message), ...again));
}
