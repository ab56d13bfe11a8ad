"""Nothing on the page needs a mouse, sharp eyes or one direction of writing."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.test_page import answers, ask, ended
from tests.clients.environments import HERE, needs
from tests.model_server import ModelServer, Reply, ToolCall

AXE = HERE / "node_modules/axe-core/axe.min.js"
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
    await page.get_by_role("button", name="Inspector").click()
    await page.get_by_role("button", name="Edit").first.click()
    await expect(answers(page).locator("math")).to_have_count(1)
    assert await findings(page) == []


async def test_right_to_left(page: Page, model: ModelServer) -> None:
    """What is written from right to left is shown so, in composer, question and answer."""
    model.on("שלום, מה שלומך?", Reply("הכול **טוב**.\n\n- אחת\n- שתיים"))
    await page.get_by_role("textbox", name="Message").fill("שלום, מה שלומך?")
    await expect(page.get_by_role("textbox", name="Message")).to_have_css("direction", "rtl")
    await page.get_by_role("button", name="Send").click()
    await ended(page)
    for part in (".bubble p", ".text", ".text li >> nth=0"):
        await expect(page.locator(f"#turns {part}")).to_have_css("direction", "rtl")
