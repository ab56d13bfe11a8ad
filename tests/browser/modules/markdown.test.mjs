import assert from "node:assert/strict";
import { test } from "node:test";
import { blocksOf } from "../../../agent/web/markdown-tree.js";
import Prism from "../../../agent/web/vendor/prism.js";
import temml from "../../../agent/web/vendor/temml.js";

const library = (name) => ({ prism: Prism, temml })[name];

// As HTML is written, to read it; nothing on the page is made from such text.
function html(nodes) {
  return nodes
    .map((node) => {
      if (typeof node === "string") return node;
      const attributes = Object.entries(node.attributes).map(([name, value]) => ` ${name}="${value}"`);
      return `<${node.tag}${attributes.join("")}>${html(node.children)}</${node.tag}>`;
    })
    .join("");
}

const shown = (text) => html(blocksOf(text, library));
const tags = (nodes) => nodes.flatMap((node) => (typeof node === "string" ? [] : [node.tag, ...tags(node.children)]));
const texts = (nodes) => nodes.map((node) => (typeof node === "string" ? node : texts(node.children))).join("");

const LINES = {
  "***both***": "<p><em><strong>both</strong></em></p>",
  "~~gone~~ `code`": "<p><del>gone</del> <code>code</code></p>",
  "# Head": "<h3>Head</h3>",
  "one\ntwo  \nthree": "<p>one\ntwo<br></br>three</p>",
  "3) c\n4) d": '<ol start="3"><li>c</li><li>d</li></ol>',
  "[x] no item": "<p>[x] no item</p>",
  "<b>no</b> &lt;": "<p><b>no</b> <</p>", // as text
  "main.py": "<p>main.py</p>",
};
for (const [source, expected] of Object.entries(LINES)) {
  test(`Markdown: ${JSON.stringify(source)}`, () => assert.equal(shown(source), expected));
}

test("what is written as HTML is text", () => {
  assert.deepEqual(tags(blocksOf("<b>no</b>\n\n<script>alert(1)</script>")), ["p", "p"]);
});

test("tasks are boxes, in lists with and without paragraphs", () => {
  for (const source of ["- [ ] a\n- [x] b", "- [ ] a\n\n- [x] b"]) {
    const [list] = blocksOf(source);
    const [first, second] = list.children.map((item) => (item.children[0].tag === "p" ? item.children[0] : item).children);
    assert.equal(first[0].attributes.checked, undefined);
    assert.deepEqual([second[0].tag, second[0].attributes.checked, second[1]], ["input", "", "b"]);
  }
});

test("cells are aligned as their column is", () => {
  const found = shown("|a|b|c|\n|:-|:-:|-:|\n|1|2|3|");
  for (const side of ["left", "center", "right"]) assert.equal(found.split(`class="${side}"`).length, 3);
});

test("links go to the web and to mail alone, and images are links", () => {
  for (const url of ["javascript:x", "JaVaScRiPt:x", "data:text/html,x", "file:///x", "vbscript:x", "//evil.example", "/x", "&#106;avascript:x"]) {
    for (const source of [`[a](${url})`, `![a](${url})`, `<${url}>`, `[a][1]\n\n[1]: ${url}`]) {
      assert.ok(!tags(blocksOf(source)).includes("a"), source);
    }
  }
  assert.match(shown("![A cat](https://a.example/cat.png)"), /^<p><a href="https:\/\/a.example\/cat.png" .*>🖼 A cat<\/a><\/p>$/);
});

test("code is coloured once its fence is closed, and is what was written", () => {
  const code = 'def f(x):\n    return "a" < x  # <b>';
  const found = shown(`\`\`\`py\n${code}\n\`\`\``);
  assert.match(found, /<span class="token keyword">def<\/span>/);
  for (const source of [`\`\`\`py\n${code}`, `\`\`\`py\n${code}\n\`\`\``, `\`\`\`unknown\n${code}\n\`\`\``]) {
    assert.ok(texts(blocksOf(source, library)).endsWith(code));
  }
  assert.doesNotMatch(shown(`\`\`\`py\n${code}`), /token/);
});

test("every language that is named has its grammar", async () => {
  const { languageOf } = await import("../../../agent/web/highlight.js");
  for (const name of ["html", "css", "js", "ts", "jsx", "tsx", "json", "py", "sh", "yaml", "sql", "java", "c", "c++", "c#", "go", "rs", "rb", "kt", "swift", "diff", "Dockerfile", "toml", "ini"]) {
    assert.ok(Prism.languages[languageOf(name)], name);
  }
  assert.equal(languageOf("constructor"), null);
});

for (const source of ["$x^2$", "\\(x^2\\)", "$$x^2$$", "\\[x^2\\]", "$$\nx^2\n$$", "a\n\\[\nx^2\n\\]\nb"]) {
  test(`mathematics: ${JSON.stringify(source)}`, () => {
    assert.ok(tags(blocksOf(source, library)).includes("msup"), shown(source));
    assert.ok(shown(source).includes('display="block"') === !["$x^2$", "\\(x^2\\)"].includes(source));
  });
}

for (const source of ["$5 and $6", "$5-$6", "costs $5.", "$ x $", "\\$x\\$", "$$", "$$\n\nx$$", "`$x$`", "$\\unknown{$"]) {
  test(`no mathematics: ${JSON.stringify(source)}`, () => assert.ok(!tags(blocksOf(source, library)).includes("math"), shown(source)));
}

test("a formula has no styles, links or classes of its maker's choice", () => {
  const found = shown("$\\href{javascript:x}{y} \\style{color:red}{z} \\class{c}{w} \\includegraphics{x}$");
  assert.doesNotMatch(found, /href=|<img|<mglyph/);
});
