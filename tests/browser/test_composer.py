"""Where a person writes, on a phone and beside an answer that is being written."""

from playwright.async_api import Browser, Page, expect

from client.cli.local_server import LocalServer
from tests.browser.test_page import SLOW, answers, ask, ended

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


async def test_what_waits_is_not_lost(page: Page) -> None:
    """Whoever goes to another conversation has the waiting messages back where they wrote them."""
    await ask(page, SLOW)
    await expect(answers(page)).to_contain_text("word1")
    await ask(page, "And then?")
    await expect(page.get_by_role("status")).to_contain_text(["Goes next: And then?"])
    await page.get_by_role("button", name="New conversation", exact=True).click()
    await expect(page.get_by_role("textbox", name="Message")).to_have_value("And then?")


async def test_back_leads_to_a_new_conversation(page: Page) -> None:
    """The browser's Back, from a thread to the page itself, leaves the thread."""
    await ask(page, "Hello, back.")
    await ended(page)
    await page.get_by_role("button", name="New conversation", exact=True).click()
    await page.get_by_role("button", name="Hello, back.").first.click()
    await expect(answers(page)).to_have_count(1)
    await page.go_back()
    await expect(page.get_by_role("heading", name="Ask something.")).to_be_visible()
    await expect(answers(page)).to_have_count(0)


async def test_stop_is_not_send(page: Page) -> None:
    """What waits for the end of an answer goes back to the composer when the answer is stopped;
    Enter that ends a composition of letters, also Safari's, sends nothing."""
    await ask(page, SLOW)
    await expect(answers(page)).to_contain_text("word1")
    await ask(page, "And then?")
    await page.get_by_role("button", name="Stop").click()
    await ended(page, "stopped")
    message = page.get_by_role("textbox", name="Message")
    await expect(message).to_have_value("And then?")
    await message.evaluate(
        """(it) => { for (const keyCode of [13, 229]) it.dispatchEvent(new KeyboardEvent("keydown",
             { key: "Enter", keyCode, isComposing: keyCode === 13, bubbles: true })); }"""
    )
    await expect(answers(page)).to_have_count(1)
    await expect(message).to_have_value("And then?")
