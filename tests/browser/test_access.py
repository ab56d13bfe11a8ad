"""Nothing on the page needs a mouse, sharp eyes or one direction of writing."""

import pytest
from playwright.async_api import FilePayload, Page, expect

from tests.browser.test_page import ENDLESS, answers, ask, ended
from tests.clients.environments import HERE, needs
from tests.model_server import ModelServer, Reply, ToolCall

AXE = HERE / "node_modules/axe-core/axe.min.js"
CONTROLS = "a[href], button, input, select, textarea, summary, [tabindex='0']"
REACHED = """
async () => {
  const bare = [];
  for (const node of document.querySelectorAll(CONTROLS)) {
    node.isToReach = node.checkVisibility({ visibilityProperty: true }) && !node.disabled;
  }
  document.addEventListener("focusin", ({ target }) => {
    target.isToReach = false;
    const { outlineStyle } = getComputedStyle(target);
    const isSeen = target.checkVisibility({ checkOpacity: true });
    const isMarked = outlineStyle !== "none" || target.id === "message"; // whose form is marked
    if (!isSeen || !isMarked) bare.push(target.outerHTML);
  });
  const controls = () => [...document.querySelectorAll(CONTROLS)];
  window.notReached = () => controls().filter((it) => it.isToReach).map((it) => it.outerHTML);
  window.notSeen = () => bare;
}""".replace("CONTROLS", f'"{CONTROLS}"')
SMOOTHED = """
async () => {
  const { Markdown } = await import("/page/markdown.js");
  const written = new Markdown(document.createElement("div"));
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  let now = 0;
  performance.now = () => now; // however long a frame takes here
  written.append("One. ");
  now = 190;
  const words = Array.from({ length: 200 }, (_, n) => `word${n}`).join(" ");
  written.append(words);
  now += 30;
  await frame();
  await frame();
  delete performance.now;
  return written.root.textContent === `One. ${words}`;
}"""
FORMS = """
- [x] done

| a | b |
|:--|--:|
| 1 | 2 |

```python
def f(): return "x"  # code
```

$$x^2$$ and [a link](https://a.example) and ![a picture](https://a.example/a.png)
"""


async def findings(page: Page) -> list[str]:
    """What axe finds on the page as it is now: every rule that it has, with each node."""
    found: list[str] = await page.evaluate(
        """async () => (await axe.run()).violations.flatMap(({ id, nodes }) =>
             nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`))"""
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(page: Page, model: ModelServer, scheme: str) -> None:
    """Not on an empty page, nor with answers of every form, a decision that waits, an editor, the
    options and the inspector; and a decision is announced at once, an answer politely."""
    needs(AXE)
    await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await page.evaluate(AXE.read_text())
    await expect(page.locator("h1#name")).not_to_be_empty()  # the server's own, asked for at load
    assert await findings(page) == []
    call = ToolCall("save_note", {"title": "seen", "text": "By all."})
    model.on("Every form.", Reply(FORMS, reasoning="Hm.", tool_calls=[call]))
    await ask(page, "Hello, access.")
    await ended(page)
    await ask(page, "Every form.")
    await ended(page, "interrupted")
    await expect(page.locator("[aria-live=assertive]#alert")).to_contain_text("waits for you")
    await expect(page.locator("[aria-live=polite]#announcer")).to_contain_text("a picture")
    await page.locator("#options summary").click()
    await page.get_by_role("button", name="Inspector", exact=True).click()
    await page.get_by_role("button", name="Edit").first.click()
    await expect(answers(page).locator("math")).to_have_count(1)
    assert await findings(page) == []


async def test_right_to_left(page: Page, model: ModelServer) -> None:
    """What is written from right to left is shown so, in composer, question and answer."""
    model.on("שלום, מה שלומך?", Reply("הכול **טוב**.\n\n- אחת\n- שתיים"))
    await page.get_by_role("textbox", name="Message").fill("שלום, מה שלומך?")
    await expect(page.get_by_role("textbox", name="Message")).to_have_css("direction", "rtl")
    await page.get_by_role("button", name="Send", exact=True).click()
    await ended(page)
    for part in (".bubble p", ".text", ".text li >> nth=0"):
        await expect(page.locator(f"#turns {part}")).to_have_css("direction", "rtl")
    await page.get_by_role("button", name="Edit").click()
    await expect(page.get_by_role("textbox", name="New words")).to_have_css("direction", "rtl")


async def test_every_control_is_reached_by_tab(page: Page, model: ModelServer) -> None:
    """Whatever can be clicked gets the focus by the Tab key, and is then seen to have it."""
    call = ToolCall("save_note", {"title": "reached", "text": "By Tab."})
    model.on("Every control.", Reply(FORMS, reasoning="Hm.", tool_calls=[call]))
    await page.get_by_role("button", name="Inspector", exact=True).click()
    await ask(page, "Every control.")
    await ended(page, "interrupted")
    await page.locator("#options summary").click()
    await page.get_by_text("What the agent remembers of you").click()
    await page.get_by_role("button", name="Edit", exact=True).click()
    await page.locator("#files").set_input_files(
        [FilePayload(name="b.txt", mimeType="text/plain", buffer=b"B.")]
    )
    await expect(page.get_by_role("button", name="Remove b.txt")).to_be_visible()
    await page.evaluate("document.activeElement.blur()")
    await page.evaluate(REACHED)
    for _ in range(2 * await page.locator(CONTROLS).count()):  # other files' conversations, too
        await page.keyboard.press("Tab")
    await page.locator("#log").evaluate("(log) => { log.scrollTop = 0; }")
    await page.locator("#message").focus()
    for _ in range(4):  # back from where one writes, to what leads to the end
        await page.keyboard.press("Shift+Tab")
    assert await page.evaluate("notReached()") == []
    assert await page.evaluate("notSeen()") == []


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
async def test_reduced_motion(page: Page, motion: str) -> None:
    """Who asks for less motion sees a frame's words together, nothing that moves by itself, and
    jumps instead of slides."""
    is_calm = motion == "reduce"
    await page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]
    assert await page.evaluate(SMOOTHED) is is_calm
    await ask(page, ENDLESS)
    await expect(answers(page)).to_contain_text("word1")
    waits = page.locator(".waiting")
    await expect(waits).to_have_css("animation-name", "none" if is_calm else "breathe")
    if is_calm:
        await page.set_viewport_size({"width": 360, "height": 740})
        await page.get_by_role("button", name="Conversations").click()
        assert await page.evaluate("document.getAnimations().length") == 0
    await expect(page.locator("#log")).to_have_css("scroll-behavior", "auto")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await ended(page, "stopped")
