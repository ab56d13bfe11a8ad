"""Markdown of hostile and of ordinary models, rendered in a real browser."""

import random

import pytest
from playwright.async_api import Error, Page, expect

from client.cli.local_server import LocalServer
from tests.browser.conftest import Open
from tests.browser.test_page import answers, ask, ended
from tests.model_server import ModelServer, Reply

ATTACKS = r"""
<script>window.owned = 1</script>
<img src=x onerror="window.owned = 1">
<svg onload="window.owned=1"><style>*{display:none}</style>
<iframe src="javascript:window.owned=1"></iframe>
<a href="javascript:window.owned=1">click</a>
<details open ontoggle="window.owned=1">
[a](javascript:window.owned=1) [b](JaVaScRiPt:window.owned=1) [c](java
script:window.owned=1)
[d](data:text/html,<script>window.owned=1</script>) [e](vbscript:x) [f](file:///etc/passwd)
[g]( javascript:window.owned=1 ) [h](&#106;avascript:window.owned=1)
[i](\x01javascript:window.owned=1)
![pixel](https://tracker.example/p.png) ![x](javascript:window.owned=1)
<javascript:window.owned=1> <https://evil.example/"onmouseover="window.owned=1">
[j](https://ok.example/"onclick="window.owned=1) [k](//evil.example)
`<script>window.owned = 1</script>` **<b onclick=window.owned=1>x</b>**
| <script>window.owned=1</script> | b |
|---|---|
| <img src=x onerror=window.owned=1> | [x](javascript:1) |

```html"><script>window.owned=1</script>
</code></pre><script>window.owned=1</script>
```
> <script>window.owned=1</script>
# <img src=x onerror=window.owned=1>
- <svg/onload=window.owned=1>
&lt;script&gt;window.owned=1&lt;/script&gt; ‮gnirts‬ ​​ <scr\u0069pt>
"""

PIECES = (
    *(
        "# Title\n",
        "## Sub *it*\n",
        "para one\nline two\n",
        "\n",
        "\n\n",
        "#hashtag\n",
        "---\n",
        "***\n",
    ),
    *(
        "- item\n",
        "- [x](https://a.b)\n",
        "  - nested\n",
        "1. first\n",
        "2. second\n",
        "   more of it\n",
    ),
    *("+ plus\n", "3) three\n", "    indented\n", "> quoted\n", "> - in quote\n", "\\*plain\\*\n"),
    *("```py\n", "code | here\n", "```\n", "a | b\n", "---|---\n", "1 | 2\n", "| lonely\n"),
    *("$$\n", "$x^2$ or $5\n", "\\[\n", "\\]\n", "- [x] done\n", "js\n"),
    *("**bold** and `code`\n", "with_underscores *em*\n", "~~gone~~ https://x.y/z.\n", "end"),
)

COMPARE = """
async (documents) => {
  const { Markdown, markdown } = await import("/page/markdown.js");
  await Promise.all([import("/page/vendor/prism.js"), import("/page/vendor/temml.js")]);
  return documents.map(([whole, cuts]) => {
    const root = document.createElement("div");
    const streamed = new Markdown(root);
    let at = 0;
    for (const cut of [...cuts, whole.length]) {
      streamed.append(whole.slice(at, cut));
      streamed.show();
      at = cut;
    }
    return [root.innerHTML, markdown(whole).innerHTML];
  });
}
"""


@pytest.fixture
async def modules(open_page: Open) -> Page:
    """A page where the modules can be imported, and nothing else is loaded."""
    return await open_page(fragment="page/about.json")


async def test_hostile_markdown_does_nothing(
    page: Page, server: LocalServer, model: ModelServer
) -> None:
    """No script runs, no element or attribute of the model's making appears, nothing is loaded."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    model.on("Attack.", Reply(ATTACKS, reasoning=ATTACKS))
    await ask(page, "Attack.")
    await ended(page)
    await answers(page).get_by_text("Reasoning").first.click()
    found = await answers(page).evaluate(
        """(root) => [...root.querySelectorAll("*")].map((node) => [
             node.localName, node.getAttributeNames(), node.getAttribute("href")])"""
    )
    tags = {tag for tag, _, _ in found}
    forbidden = {"script", "img", "svg", "iframe", "style", "b", "object", "embed", "form", "input"}
    assert not tags & forbidden
    names = {name for _, names, _ in found for name in names}
    assert not any(name.startswith("on") or name in ("src", "style", "srcdoc") for name in names)
    links = [href for tag, _, href in found if tag == "a"]
    assert links
    assert all(href.startswith(("https://", "http://", "mailto:")) for href in links)
    sink = "document.createElement('div').innerHTML = '<b>x</b>'"
    with pytest.raises(Error, match="TrustedHTML"):  # the browser holds the page to it
        await page.evaluate(sink)
    assert await page.evaluate("window.owned") is None
    assert all(url.startswith(server.url) for url in asked)


async def test_links_open_safely(page: Page, model: ModelServer) -> None:
    """A link opens a page that knows nothing of ours."""
    model.on("Link.", Reply("See [this](https://example.com/a_(b)) and https://example.org/x."))
    await ask(page, "Link.")
    await ended(page)
    links = answers(page).get_by_role("link")
    await expect(links).to_have_count(2)
    urls = [await link.get_attribute("href") for link in await links.all()]
    assert urls == ["https://example.com/a_(b)", "https://example.org/x"]
    for link in await links.all():
        await expect(link).to_have_attribute("target", "_blank")
        await expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")


async def test_ordinary_markdown(page: Page, model: ModelServer) -> None:
    """Headings, lists, tables, code and quotes are what they look like."""
    source = (
        "# Plan\n\nSome **bold**, *em*, ~~old~~ and `code`.\n\n1. one\n2. two\n   - deep\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n```js\nlet x = 1;\n```\n\n> wise\n\n---\n"
        "snake_case_name\n\n- [x] done\n- [ ] due\n\n|l|r|\n|:-|-:|\n|1|2|\n\n"
        "***both*** $x^2$ and\n\n$$\n\\frac{1}{2}\n$$\n\n![A cat](https://a.example/cat.png)"
    )
    model.on("Format.", Reply(source))
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await ask(page, "Format.")
    await ended(page)
    body = answers(page)
    await expect(body.get_by_role("heading", name="Plan")).to_be_visible()
    await expect(body.locator("p > strong")).to_have_text("bold")
    await expect(body.locator("em").first).to_have_text("em")
    await expect(body.locator("del")).to_have_text("old")
    await expect(body.locator("ol > li")).to_have_count(2)
    await expect(body.locator("ol ul li")).to_have_text("deep")
    await expect(body.get_by_role("cell")).to_have_text(["1", "2", "1", "2"])
    await expect(body.locator("pre code")).to_have_text("let x = 1;")
    await expect(body.locator(".token.keyword")).to_have_text("let")
    await expect(body.get_by_role("checkbox", name="Done")).to_be_checked()
    await expect(body.get_by_role("checkbox", name="To do")).not_to_be_checked()
    await expect(body.get_by_role("cell").last).to_have_css("text-align", "right")
    await expect(body.locator("em > strong")).to_have_text("both")
    await expect(body.locator("msup")).to_have_count(1)
    await expect(body.locator("math[display=block] mfrac")).to_have_count(1)
    await expect(body.get_by_role("link", name="A cat")).to_be_visible()
    await body.get_by_role("button", name="Copy code").click()
    await expect(body.get_by_role("button", name="Copy code")).to_have_text("Copied")
    assert await page.evaluate("navigator.clipboard.readText()") == "let x = 1;"
    await expect(body.get_by_role("button", name="Copy code")).to_be_visible()
    await expect(body.locator("blockquote")).to_have_text("wise")
    await expect(body.locator("hr")).to_have_count(1)
    await expect(body.get_by_text("snake_case_name")).to_be_visible()


async def test_words_of_a_table_stay_whole(page: Page, model: ModelServer) -> None:
    """On a narrow screen a table scrolls by itself: neither words break nor does the page widen."""
    model.on("Table.", Reply("|framing|another one|throughput|at once|\n|-|-|-|-|\n|a|b|c|d|"))
    await page.set_viewport_size({"width": 320, "height": 568})
    await ask(page, "Table.")
    await ended(page)
    lines = (
        await answers(page)
        .locator("th")
        .first.evaluate(
            """(cell) => { const range = document.createRange(); range.selectNodeContents(cell);
             return range.getClientRects().length; }"""
        )
    )
    assert lines == 1
    assert await answers(page).locator(".table").evaluate("(it) => it.scrollWidth > it.clientWidth")
    assert await page.evaluate("document.documentElement.scrollWidth") == 320


async def test_a_link_may_be_defined_after_its_use(modules: Page) -> None:
    """At the end of an answer, all of it counts."""
    script = """async () => {
      const { Markdown } = await import("/page/markdown.js");
      const root = document.createElement("div");
      const streamed = new Markdown(root);
      for (const line of ["See [this][1].", "", "More.", "", "[1]: https://a.example/1", ""]) {
        streamed.append(`${line}\\n`);
        streamed.show();
      }
      streamed.end();
      return root.querySelector("a").href; }"""
    assert await modules.evaluate(script) == "https://a.example/1"


@pytest.mark.parametrize("seed", range(10))
async def test_a_stream_renders_as_the_whole(modules: Page, seed: int) -> None:
    """However a document is cut into pieces, it looks in the end as if it had come at once."""
    chance, documents = random.Random(seed), list[tuple[str, list[int]]]()
    for _ in range(60):
        whole = "".join(chance.choices(PIECES, k=chance.randint(1, 25)))
        places = range(1, max(2, len(whole)))
        cuts = sorted(chance.sample(places, k=min(len(places), chance.randint(0, 80))))
        documents.append((whole, cuts))
    for (whole, _), shown in zip(
        documents, await modules.evaluate(COMPARE, documents), strict=True
    ):
        streamed, at_once = shown
        assert streamed == at_once, repr(whole)


KEPT = """
async ([before, after, kept]) => {
  const { Markdown } = await import("/page/markdown.js");
  const root = document.createElement("div");
  const streamed = new Markdown(root);
  streamed.append(before);
  streamed.show();
  const nodes = [...root.querySelectorAll(kept)];
  for (const character of after) {
    streamed.append(character);
    streamed.show();
  }
  const now = [...root.querySelectorAll(kept)];
  return [nodes.length, nodes.filter((node, at) => node === now[at]).length];
}
"""
GROWS: dict[str, tuple[str, str, str, int]] = {
    "paragraphs": ("One.\n\nTwo *em*.\n\nThr", "ee.\n\nFour.", "p:nth-child(-n+2)", 2),
    "a list": ("- one\n- two *em*\n- thr", "ee\n- four\n\nEnd.", "li:nth-child(-n+2)", 2),
    "a quoted list": ("> - one\n> - tw", "o\n> - three\n", "ul, li:first-child", 2),
    "a table": ("|a|\n|-|\n|1|\n|2", "|\n|3|\n", "table, tbody tr:first-child", 2),
    "code": ("```py\nx = 1\n", "y = 2\n```\n\nEnd.", ".code, button, code", 3),
}


@pytest.mark.parametrize("case", GROWS)
async def test_what_is_written_stays(modules: Page, case: str) -> None:
    """The nodes of finished blocks, items, rows and code are the same while later text arrives."""
    before, after, kept, count = GROWS[case]
    assert await modules.evaluate(KEPT, [before, after, kept]) == [count, count]


async def test_pieces_are_shown_once_a_frame(modules: Page) -> None:
    """However many come between two frames, the document is built once, and with all of them."""
    script = """async () => {
      const { Markdown } = await import("/page/markdown.js");
      const root = document.createElement("div");
      let changes = 0;
      new MutationObserver(() => (changes += 1)).observe(root, { childList: true, subtree: true });
      const streamed = new Markdown(root);
      for (let n = 0; n < 100; n += 1) {
        streamed.append(`word${n} `);
        await Promise.resolve();
      }
      const before = root.textContent;
      await new Promise((resolve) => requestAnimationFrame(resolve));
      return [before, root.textContent, changes]; }"""
    before, after, changes = await modules.evaluate(script)
    assert before == ""
    assert after == " ".join(f"word{n}" for n in range(100))
    assert changes == 1


@pytest.mark.parametrize("mark", ["*a", "_", "[", "`", "**a ", "~~", "![", "> ", "- ", "|", "a|\n"])
async def test_long_and_hostile_text_does_not_hang(modules: Page, mark: str) -> None:
    """Two hundred kilobytes of unfinished marks are shown, and the page still answers."""
    text = mark * (200_000 // len(mark))
    script = """async (text) => {
      const { markdown } = await import("/page/markdown.js");
      return markdown(text).childNodes.length; }"""
    assert await modules.evaluate(script, text) >= 1
