// Markdown to DOM nodes. What a model says is hostile: nothing of it is parsed as HTML, links go
// only to the web and to mail, and nothing is loaded. What is written stays the node that it is.

import { element } from "./dom.js";

const SAFE = /^(https?:|mailto:)/i;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+|$)/;
const FENCE = /^\s{0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^\s{0,3}([-*_])(\s*\1){2,}\s*$/;
const DELIMITERS = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const DEEPEST = 12;
const LONGEST_INLINE = 20_000; // characters; what is longer is shown as it is

export class Markdown {
  constructor(root) {
    this.root = root;
    this.rest = ""; // the source of blocks that may still change
    this.blocks = []; // those, as they are shown
    this.frame = null;
  }

  // To be shown with the next frame, with whatever else has come by then.
  append(text) {
    this.rest += text;
    this.frame ??= requestAnimationFrame(() => this.show());
  }

  show() {
    cancelAnimationFrame(this.frame);
    this.frame = null;
    const lines = this.rest.split("\n");
    const blocks = blocksOf(lines);
    renew(this.root, this.blocks, blocks);
    // a block is finished when the next one begins with a line that is whole, and so is the line
    // after it, which may turn that one into the head of a table
    const last = blocks.findLastIndex((block) => block.start + 2 < lines.length);
    this.blocks = blocks.slice(Math.max(0, last));
    if (last > 0) this.rest = lines.slice(blocks[last].start).join("\n");
  }
}

export function markdown(text) {
  const root = element("div");
  renew(root, [], blocksOf(text.split("\n")));
  return root;
}

// Makes the last nodes of `root`, which show the blocks `before`, show those of `after`. What has
// the same source stays; what is of the same shell, as a list that got longer, is filled anew.
function renew(root, before, after) {
  after.forEach((block, at) => {
    const old = before[at];
    if (old?.source === block.source) {
      block.node = old.node;
      block.filled = old.filled;
    } else if (old?.shell && old.shell === block.shell) {
      block.node = old.node;
      block.filled = block.fill(old.node, old.filled);
    } else {
      block.node = block.build();
      block.filled = block.fill?.(block.node);
      if (old) old.node.replaceWith(block.node);
      else root.append(block.node);
    }
  });
  for (const { node } of before.slice(after.length)) node.remove();
}

// Each block: the line where it starts, its source, and how it is built. A block with a `shell` is
// built empty: `fill` is given its node, and what it gave the last time.
function blocksOf(lines, depth = 0) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) at += 1;
    else {
      const start = at;
      const [end, block] = blockAt(lines, at, depth);
      blocks.push({ start, source: lines.slice(start, end).join("\n"), ...block });
      at = end;
    }
  }
  return blocks;
}

// Fills a shell with parts that are blocks themselves.
const partly = (partsOf, inside = (node) => node) => (node, before = []) => {
  const parts = partsOf();
  renew(inside(node), before, parts);
  return parts;
};

function blockAt(lines, at, depth) {
  const line = lines[at];
  const heading = HEADING.exec(line);
  if (heading) return [at + 1, { build: () => element(`h${heading[1].length}`, {}, ...inline(heading[2])) }];
  if (FENCE.test(line)) return fence(lines, at);
  if (RULE.test(line)) return [at + 1, { build: () => element("hr") }];
  if (depth < DEEPEST && /^\s{0,3}>/.test(line)) return quote(lines, at, depth);
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, at, depth);
  if (isTable(lines, at)) return table(lines, at);
  return paragraph(lines, at, depth);
}

function fence(lines, at) {
  const [, mark, language] = FENCE.exec(lines[at]);
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(mark) && /^\s*[`~]+\s*$/.test(line);
  while (end < lines.length && !closes(lines[end])) end += 1;
  const code = lines.slice(at + 1, end).join("\n");
  const name = language.trim() || "text";
  const fill = (node, before) => written(node.querySelector("code"), code, before);
  return [Math.min(end + 1, lines.length), { shell: `code ${name}`, build: () => codeBlock(name), fill }];
}

function codeBlock(language) {
  const code = element("code");
  const copy = element("button", { type: "button", class: "copy", "aria-label": "Copy code" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    copy.textContent = "Copied";
  });
  const head = element("div", { class: "code-head" }, language, copy);
  return element("div", { class: "code" }, head, element("pre", {}, code));
}

function written(node, text, before) {
  if (before && text.startsWith(before)) node.firstChild.appendData(text.slice(before.length));
  else node.textContent = text;
  return text;
}

function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && /^\s{0,3}>/.test(lines[end])) end += 1;
  const inside = lines.slice(at, end).map((line) => line.replace(/^\s{0,3}>\s?/, ""));
  const fill = partly(() => blocksOf(inside, depth + 1));
  return [end, { shell: "quote", build: () => element("blockquote"), fill }];
}

function list(lines, at, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(mark);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    if (item && item[1].length <= indent.length + 1 && /\d/.test(item[2]) === isOrdered) {
      items.push([lines[end].slice(item[0].length)]);
    } else if (lines[end].trim() && /^\s{2,}/.test(lines[end])) {
      items.at(-1).push(lines[end].replace(/^(\t|\s{1,4})/, ""));
    } else if (!lines[end].trim() && goesOn(lines, end + 1, indent, isOrdered)) {
      items.at(-1).push("");
    } else break;
    end += 1;
  }
  const start = isOrdered ? parseInt(mark, 10) : null;
  const options = start !== null && start !== 1 ? { start } : {};
  const name = isOrdered ? "ol" : "ul";
  const fill = partly(() =>
    items.map((item) => ({
      source: item.join("\n"),
      build: () => element("li", {}, ...tight(built(item, depth + 1))),
    })),
  );
  return [end, { shell: `${name} ${start}`, build: () => element(name, options), fill }];
}

function goesOn(lines, at, indent, isOrdered) {
  if (at >= lines.length) return false;
  const item = ITEM.exec(lines[at]);
  if (item && item[1].length <= indent.length + 1) return /\d/.test(item[2]) === isOrdered;
  return Boolean(lines[at].trim()) && /^\s{2,}/.test(lines[at]);
}

// An item of one paragraph reads better without it.
function tight(nodes) {
  return nodes[0]?.nodeName === "P" ? [...nodes[0].childNodes, ...nodes.slice(1)] : nodes;
}

function isTable(lines, at) {
  const next = lines[at + 1];
  return lines[at].includes("|") && next !== undefined && next.includes("-") && DELIMITERS.test(next);
}

function table(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  const [head, , ...rows] = lines.slice(at, end);
  const row = (kind, line) =>
    element("tr", {}, ...cells(line).map((text) => element(kind, {}, ...inline(text))));
  const build = () =>
    element(
      "div",
      { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
      element("table", {}, element("thead", {}, row("th", head)), element("tbody")),
    );
  const fill = partly(
    () => rows.map((source) => ({ source, build: () => row("td", source) })),
    (node) => node.querySelector("tbody"),
  );
  return [end, { shell: `table ${head}`, build, fill }];
}

function cells(line) {
  const inside = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return inside.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function paragraph(lines, at, depth) {
  let end = at + 1;
  const ends = (line) =>
    !line.trim() || HEADING.test(line) || FENCE.test(line) || RULE.test(line) ||
    /^\s{0,3}>/.test(line) || (ITEM.test(line) && depth < DEEPEST);
  while (end < lines.length && !ends(lines[end]) && !isTable(lines, end)) end += 1;
  const text = lines.slice(at, end).join("\n");
  return [end, { build: () => element("p", {}, ...inline(text.trim())) }];
}

function built(lines, depth) {
  const root = document.createDocumentFragment();
  renew(root, [], blocksOf(lines, depth));
  return [...root.childNodes];
}

const INLINE = [
  [/^\\([\\`*_{}[\]()#+\-.!|~>])/, ([, character]) => character],
  [/^(`+)(?!`)([\s\S]*?[^`])\1(?!`)/, ([, , code]) => element("code", {}, code.trim())],
  [/^!?\[((?:[^[\]\\]|\\.|\[[^[\]]*\])*)\]\(\s*<?([^\s<>()]*(?:\([^\s()]*\)[^\s<>()]*)*)>?(?:\s+"[^"]*")?\s*\)/, link],
  [/^<((?:https?:\/\/|mailto:)[^\s<>]+)>/i, ([, url]) => anchor(url, [url])],
  [/^https?:\/\/[^\s<>]*[^\s<>.,:;"')\]*_]/i, ([url]) => anchor(url, [url])],
  [/^(\*\*|__)(?=\S)([\s\S]*?\S)\1/, ([, , text], depth) => element("strong", {}, ...inline(text, depth))],
  [/^~~(?=\S)([\s\S]*?\S)~~/, ([, text], depth) => element("del", {}, ...inline(text, depth))],
  [/^\*(?=\S)((?:[^*]|\*\*)*?\S)\*(?!\*)/, ([, text], depth) => element("em", {}, ...inline(text, depth))],
  [/^_(?=\S)([^_]*?\S)_(?!\w)/, ([, text], depth) => element("em", {}, ...inline(text, depth))],
  [/^ {2,}\n/, () => element("br")],
];
const PLAIN = /^(?:[^\\`![<h*_~ ]| (?! )|h(?!ttps?:\/\/))+/i;

function inline(text, depth = 0) {
  if (depth > DEEPEST || text.length > LONGEST_INLINE) return [text];
  const nodes = [];
  let plain = "";
  while (text) {
    let length = PLAIN.exec(text)?.[0].length;
    const found = length ? null : special(text, plain, depth);
    if (found) {
      if (plain) nodes.push(plain);
      plain = "";
      nodes.push(found.node);
      length = found.length;
    } else {
      length ??= 1;
      plain += text.slice(0, length);
    }
    text = text.slice(length);
  }
  return plain ? [...nodes, plain] : nodes;
}

function special(text, before, depth) {
  for (const [pattern, build] of INLINE) {
    const found = pattern.exec(text);
    const isInsideWord = text[0] === "_" || text[0] === "h" ? /\w$/.test(before) : false;
    if (found && !isInsideWord) return { node: build(found, depth + 1), length: found[0].length };
  }
  return null;
}

function link([whole, text, url], depth) {
  const words = inline(text || url, depth);
  return SAFE.test(url) ? anchor(url, whole.startsWith("!") ? ["🖼 ", ...words] : words) : element("span", {}, ...words);
}

function anchor(url, words) {
  const options = { href: url, target: "_blank", rel: "noopener noreferrer nofollow" };
  return element("a", options, ...words);
}
