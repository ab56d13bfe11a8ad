"""Where a person writes, on a phone and beside an answer that is being written."""

from playwright.async_api import Browser, expect

from client.local import LocalServer
from tests.browser.test_page import SLOW, answers, ask

FEWEST_PIXELS = 200


async def test_a_phone_leaves_room_to_write(browser: Browser, server: LocalServer) -> None:
    """While an answer is written the message still has most of the row."""
    context = await browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = await context.new_page()
    await page.goto(server.url)
    await ask(page, SLOW)
    await expect(answers(page)).to_contain_text("word1")
    await expect(page.get_by_role("button", name="Stop")).to_be_in_viewport(ratio=1)
    box = await page.get_by_role("textbox", name="Message").bounding_box()
    assert box is not None
    assert box["width"] >= FEWEST_PIXELS
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await context.close()
