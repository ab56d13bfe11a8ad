// Markdown as it is written: what is finished is left alone, and the rest is shown once a frame.

import { element } from "./dom.js";
import { blocksOf } from "./markdown-tree.js";
import { Pace } from "./pace.js";
import { patch } from "./patch.js";

// Libraries that are loaded when an answer first needs them.
const CALM = matchMedia("(prefers-reduced-motion: reduce)");
const LOADERS = { prism: () => import("./vendor/prism.js"), temml: () => import("./vendor/temml.js") };
const DEFINITION = /^ {0,3}\[[^\]\n]+\]:/m;

const loaded = {};
const waiting = {}; // name -> what is to be shown anew once it is there

function library(name, showAgain) {
  if (loaded[name]) return loaded[name];
  if (!waiting[name]) {
    waiting[name] = new Set();
    const shown = (module) => {
      loaded[name] = module.default;
      for (const show of waiting[name]) show();
      waiting[name].clear();
    };
    LOADERS[name]().then(shown, () => delete waiting[name]); // asked for again with the next answer
  }
  waiting[name].add(showAgain);
  return null;
}

export class Markdown {
  constructor(root) {
    this.root = root;
    this.text = "";
    this.frame = null;
    this.pace = new Pace();
    this.spoken = 0; // blocks that a screen reader was told
    this.showAgain = () => this.#showWhole();
    this.library = (name) => library(name, this.showAgain);
    this.#begin();
  }

  #begin() {
    this.start = 0; // of the text that may still change
    this.finished = 0; // nodes before it
    this.sources = []; // of the blocks after it, as they are shown
  }

  // To be shown from the next frame of the screen on, with whatever else has come by then.
  append(text) {
    this.text += text;
    this.pace.add(text.length, performance.now());
    this.frame ??= requestAnimationFrame(() => this.#showMore());
  }

  #showMore() {
    const length = CALM.matches ? this.text.length : this.pace.at(performance.now());
    const space = this.text.indexOf(" ", length); // words are whole
    this.show(space < 0 ? this.text.length : space);
    if (length < this.text.length) this.frame = requestAnimationFrame(() => this.#showMore());
  }

  // All of it, or so many characters.
  show(length = this.text.length) {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    const rest = this.text.slice(this.start, length);
    const lines = rest.split("\n");
    const blocks = blocksOf(rest, this.library);
    const sources = blocks.map(({ line }, at) => lines.slice(line, blocks[at + 1]?.line).join("\n"));
    let same = 0;
    while (same < sources.length && sources[same] === this.sources[same]) same += 1;
    patch(this.root, blocks.slice(same), this.finished + same);
    this.sources = sources;
    // a block is finished when the next one begins with a line that is whole, and so is the line
    // after it, which may turn that one into the head of a table
    const last = blocks.findLastIndex(({ line }) => line + 2 < lines.length);
    if (last <= 0) return;
    this.start += lines.slice(0, blocks[last].line).join("\n").length + 1;
    this.finished += last;
    this.sources = sources.slice(last);
  }

  // Nothing more comes. A link may have been defined after it was used.
  end() {
    this.show();
    if (DEFINITION.test(this.text)) this.#showWhole();
  }

  // The words of the blocks that are finished, or of all, each once.
  unspoken(isAll) {
    const nodes = [...this.root.children].slice(this.spoken, isAll ? undefined : this.finished);
    this.spoken += nodes.length;
    return nodes.map(wordsOf);
  }

  #showWhole() {
    this.#begin();
    this.show();
  }
}

function wordsOf(node) {
  const copy = node.cloneNode(true);
  for (const button of copy.querySelectorAll("button")) button.remove();
  return copy.textContent;
}

export function markdown(text) {
  const written = new Markdown(element("div"));
  written.append(text);
  written.end();
  return written.root;
}

document.addEventListener("click", async ({ target }) => {
  if (!target.matches?.(".copy")) return;
  await navigator.clipboard.writeText(target.closest(".code").querySelector("code").textContent);
  target.textContent = "Copied";
});
