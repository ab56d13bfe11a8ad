"""The log follows the answer, and what waits for a person is in view."""

import pytest
from playwright.async_api import Browser, Page, expect

from client.cli.local_server import LocalServer
from tests.browser.test_page import answers, ask, ended
from tests.model_server import ModelServer, Reply, ToolCall

LINES = "\n\n".join(f"Line {n}, of a long answer." for n in range(400))
LOWEST_LOG_PIXELS = 60
CALL = ToolCall("save_note", {"title": "long", "text": "In view."})


async def place(page: Page) -> tuple[float, float]:
    """How far the log is scrolled, and how far its end is below what is seen."""
    top, below = await page.locator("#log").evaluate(
        "(log) => [log.scrollTop, log.scrollHeight - log.scrollTop - log.clientHeight]"
    )
    return float(top), float(below)


async def at_end(page: Page) -> None:
    await page.wait_for_function(
        "() => { const log = document.querySelector('#log');"
        " return log.scrollHeight - log.scrollTop - log.clientHeight < 2; }"
    )


async def test_it_follows_until_the_person_scrolls_up(page: Page, model: ModelServer) -> None:
    """At the end it stays, through all that is added; scrolled up it stays there; a button leads
    back to the end, and it follows again."""
    model.on("Go on long.", Reply(LINES, tokens_per_second=90))
    await ask(page, "Go on long.")
    await expect(answers(page)).to_contain_text("Line 20,")
    await at_end(page)
    assert (await place(page))[0] > 0
    await page.mouse.move(640, 300)
    await page.mouse.wheel(0, -30)
    to_end = page.get_by_role("button", name="Jump to the end")
    await expect(to_end).to_be_visible()
    top, _ = await place(page)
    await expect(answers(page)).to_contain_text("Line 35,")
    assert (await place(page))[0] == top
    await to_end.press("Enter")
    await expect(page.get_by_role("log")).to_be_focused()
    await at_end(page)
    model.hurry()
    await ended(page)
    await at_end(page)
    await expect(to_end).to_be_hidden()


@pytest.mark.parametrize("size", [(1280, 600), (320, 256)])
async def test_what_waits_is_in_view(
    browser: Browser, server: LocalServer, model: ModelServer, size: tuple[int, int]
) -> None:
    """After a long answer, also where the person has scrolled up, Approve can be pressed at once;
    scrolled away again, a button that is in view leads to it."""
    said = Reply(LINES[:1200], tool_calls=[CALL], tokens_per_second=20)
    model.on("Save at length.", said, Reply("Ok."))
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = await context.new_page()
    await page.goto(server.url)
    assert await page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for name in ("Inspector", "Send"):
        await expect(page.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
    await ask(page, "Save at length.")
    await expect(answers(page)).to_contain_text("Line 12,")
    box = await page.locator("#log").bounding_box()
    assert box is not None
    assert box["height"] >= LOWEST_LOG_PIXELS
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.wheel(0, -200)
    await expect(page.get_by_role("button", name="Jump to the end")).to_be_visible()
    model.hurry()
    approve = page.get_by_role("button", name="Approve", exact=True)
    await ended(page, "interrupted")
    await expect(approve).to_be_in_viewport(ratio=1)
    await page.mouse.wheel(0, -2000)
    await expect(approve).not_to_be_in_viewport()
    await page.get_by_role("button", name="Waits for your decision").press("Enter")
    await expect(approve).to_be_in_viewport(ratio=1)
    await expect(approve).to_be_focused()
    await page.reload()
    await expect(approve).to_be_in_viewport(ratio=1)
    await context.close()
