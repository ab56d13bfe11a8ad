// Mathematics in Markdown: $...$ and \(...\) in a line, $$...$$ and \[...\] for itself; to MathML.

const CLOSING = { "$$": "$$", "\\[": "\\]", "\\(": "\\)", $: "$" };
const LONGEST_INLINE = 1000; // characters: what looks for its end must not look for ever
const OPTIONS = { trust: false, throwOnError: true, maxExpand: 500, maxSize: [20, 20] };

// Rules for markdown-it: tokens "math", whose `block` says whether they stand for themselves.
export function mathRules(parser) {
  parser.inline.ruler.before("escape", "math", inlineRule);
  parser.block.ruler.before("fence", "math", blockRule, { alt: ["paragraph", "reference", "blockquote", "list"] });
}

function inlineRule(state, silent) {
  const opening = Object.keys(CLOSING).find((mark) => state.src.startsWith(mark, state.pos));
  if (!opening) return false;
  const start = state.pos + opening.length;
  const end = endOf(state.src, start, opening);
  if (end < 0) return false;
  if (!silent) add(state, opening, state.src.slice(start, end), opening === "$$" || opening === "\\[");
  state.pos = end + CLOSING[opening].length;
  return true;
}

function endOf(source, start, opening) {
  const text = source.slice(start, start + LONGEST_INLINE);
  for (let at = text.indexOf(CLOSING[opening]); at >= 0; at = text.indexOf(CLOSING[opening], at + 1)) {
    const inside = text.slice(0, at);
    if (!inside.trim() || /\n\s*\n/.test(inside)) return -1;
    if (/(^|[^\\])(\\\\)*\\$/.test(inside)) continue; // escaped
    // as in pandoc, so that prices are none: "$5 and $6", "$5-$6"
    const isPrice = opening === "$" && (/^\s|\s$/.test(inside) || /^\d/.test(source.slice(start + at + 1)));
    if (!isPrice) return start + at;
    if (/^\s/.test(inside)) return -1;
  }
  return -1;
}

// A block ends at the next empty line, at the latest: there is none in TeX's displayed formulas. Whether
// it begins is told by its first line alone: what comes later must not change what is finished.
function blockRule(state, startLine, endLine, silent) {
  const line = (number) => state.src.slice(state.bMarks[number] + state.tShift[number], state.eMarks[number]);
  const opening = ["$$", "\\["].find((mark) => line(startLine).startsWith(mark));
  if (!opening || state.sCount[startLine] - state.blkIndent >= 4) return false;
  const closing = CLOSING[opening];
  const first = line(startLine).slice(2).trimEnd();
  if (first.includes(closing) && first.indexOf(closing) !== (first.length - 2 || -1)) return false;
  if (silent) return true;
  const lines = [first];
  let next = startLine + 1;
  for (; !lines.at(-1).includes(closing) && next < endLine && line(next).trim(); next += 1) lines.push(line(next));
  const text = lines.join("\n").trimEnd();
  const isClosed = text.indexOf(closing) === text.length - 2 && text.slice(0, -2).trim() !== "";
  const token = add(state, opening, isClosed ? text.slice(0, -2) : opening + text, true);
  token.meta.isOpen = !isClosed;
  token.block = true;
  token.map = [startLine, next];
  state.line = next;
  return true;
}

function add(state, opening, content, isDisplayed) {
  const token = state.push("math", "math", 0);
  token.content = content.trim();
  token.markup = opening;
  token.meta = { isDisplayed, isOpen: false };
  return token;
}

// The formula as a tree of MathML; null where it is none.
export function mathTree(temml, { content, meta: { isDisplayed } }) {
  try {
    return treeOf(temml.__renderToMathMLTree(content, { ...OPTIONS, displayMode: isDisplayed }));
  } catch {
    return null;
  }
}

function treeOf(node) {
  if (node.text !== undefined) return node.text;
  const attributes = { ...node.attributes };
  if (node.classes?.length) attributes.class = node.classes.filter(Boolean).join(" ");
  const children = (node.children ?? []).map(treeOf);
  return node.type ? { tag: node.type, attributes, style: { ...node.style }, children } : { tag: "mrow", attributes, children };
}
