// Markdown to a tree of plain objects. What a model says is hostile: nothing of it is parsed as HTML,
// links go only to the web and to mail, and images are links: nothing is loaded. Pure.
//
// A node is a text, or { tag, attributes, children }, with `style` where it has one, and `isKept`
// where it stays as it was made.

import { languageOf, highlighted } from "./highlight.js";
import { mathRules, mathTree } from "./math.js";
import "./vendor/markdown-it.js";

const SAFE = /^(https?:|mailto:)/i;
const LINK = { target: "_blank", rel: "noopener noreferrer nofollow" };
const TASK = /^\[([ xX])\]\s+/;
const FIRST_LEVEL = 3; // of headings: the page's own come before

const parser = globalThis.markdownit({ linkify: true }).use(mathRules);
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
parser.validateLink = (url) => SAFE.test(url);

// The top-level nodes, each with the number of the `line` where it starts. `library` gives Prism and
// Temml by their names, or null while there is none: code and formulas are then shown as they are written.
export function blocksOf(text, library = () => null) {
  return withTasks(nodesOf(parser.parse(text, {}), library));
}

function nodesOf(tokens, library) {
  const root = { children: [] };
  const open = [root];
  for (const token of tokens) {
    const { children } = open.at(-1);
    if (token.hidden) continue;
    if (token.nesting < 0) open.pop();
    else if (token.type === "inline") for (const node of nodesOf(token.children, library)) add(children, node);
    else {
      const [outer, inner] = nodeOf(token, library);
      if (token.map && typeof outer === "object") outer.line = token.map[0];
      add(children, outer);
      if (token.nesting > 0) open.push(inner);
    }
  }
  return root.children;
}

function add(children, node) {
  if (typeof node === "string" && typeof children.at(-1) === "string") children.push(children.pop() + node);
  else if (node !== "") children.push(node);
}

const tree = (tag, attributes = {}, ...children) => ({ tag, attributes, children });

// The node, and the one inside of it that takes what follows.
function nodeOf(token, library) {
  const both = (node) => [node, node];
  switch (token.type) {
    case "text":
      return both(token.content);
    case "softbreak":
      return both("\n");
    case "hardbreak":
      return both(tree("br"));
    case "code_inline":
      return both(tree("code", {}, token.content));
    case "fence":
    case "code_block":
      return both(codeBlock(token, library));
    case "math":
      return both(math(token, library));
    case "image":
      return both(anchor(token.attrGet("src"), `🖼 ${token.content || token.attrGet("src")}`));
    case "link_open":
      return both(anchor(token.attrGet("href")));
    case "heading_open":
      return both(tree(`h${Math.min(6, Number(token.tag[1]) + FIRST_LEVEL - 1)}`));
    case "ordered_list_open":
      return both(tree("ol", token.attrGet("start") ? { start: token.attrGet("start") } : {}));
    case "table_open":
      return inside(tree("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" }), tree("table"));
    case "th_open":
    case "td_open":
      return both(tree(token.tag, alignment(token)));
    default:
      return token.tag ? both(tree(token.tag === "s" ? "del" : token.tag)) : both(token.content);
  }
}

function inside(outer, inner) {
  outer.children.push(inner);
  return [outer, inner];
}

const anchor = (href, ...children) => tree("a", { href, ...LINK }, ...children);

function alignment(token) {
  const side = /text-align:(\w+)/.exec(token.attrGet("style") ?? "")?.[1];
  return side ? { class: side } : {};
}

function math(token, library) {
  const { isDisplayed, isOpen } = token.meta;
  if (isOpen) return tree("p", {}, token.content);
  const temml = library("temml");
  const formula = temml && mathTree(temml, token);
  const node = formula ?? tree("code", {}, token.content);
  return isDisplayed ? tree(token.block ? "div" : "span", { class: "formula", tabindex: "0" }, node) : node;
}

function codeBlock({ content, info, map, type }, library) {
  const code = content.replace(/\n$/, "");
  const name = info.trim().split(/\s+/)[0];
  const language = languageOf(name);
  // a fence has two lines that are not code, once it is closed
  const isWhole = !content || content.endsWith("\n");
  const isClosed = type === "code_block" || (isWhole && map[1] - map[0] === content.split("\n").length + 1);
  const prism = language && isClosed ? library("prism") : null;
  const copy = { ...tree("button", { type: "button", class: "copy", "aria-label": "Copy code" }, "Copy"), isKept: true };
  return tree(
    "div",
    { class: "code" },
    tree("div", { class: "code-head" }, name || "text", copy),
    tree("pre", { tabindex: "0" }, tree("code", {}, ...(prism ? highlighted(prism, code, language) : code ? [code] : []))),
  );
}

// "[ ]" and "[x]" at the beginning of a list's item are boxes.
function withTasks(nodes) {
  for (const node of nodes) {
    if (typeof node === "string") continue;
    const first = node.tag === "li" && (node.children[0]?.tag === "p" ? node.children[0] : node);
    const task = first && typeof first.children[0] === "string" && TASK.exec(first.children[0]);
    if (task) {
      const isDone = task[1] !== " ";
      node.attributes.class = "task";
      first.children[0] = first.children[0].slice(task[0].length);
      const box = { type: "checkbox", disabled: "", ...(isDone ? { checked: "" } : {}), "aria-label": isDone ? "Done" : "To do" };
      first.children.unshift(tree("input", box));
    }
    withTasks(node.children);
  }
  return nodes;
}
