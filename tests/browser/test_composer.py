"""Where a person writes, on a phone and beside an answer that is being written."""

from playwright.async_api import Browser, Locator, Page, expect

from client.cli.local_server import LocalServer
from tests.browser.test_page import ENDLESS, answers, ask, ended

FEWEST_PIXELS = 200


async def test_a_phone_leaves_room_to_write(browser: Browser, server: LocalServer) -> None:
    """While an answer is written the message still has most of the row."""
    context = await browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = await context.new_page()
    await page.goto(server.url)
    await ask(page, ENDLESS)
    await expect(answers(page)).to_contain_text("word1")
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_in_viewport(ratio=1)
    box = await page.get_by_role("textbox", name="Message").bounding_box()
    assert box is not None
    assert box["width"] >= FEWEST_PIXELS
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.get_by_role("button", name="Stop", exact=True).click()
    await ended(page, "stopped")
    await context.close()


async def test_what_waits_is_not_lost(page: Page) -> None:
    """Whoever goes to another conversation has the waiting messages back where they wrote them."""
    await ask(page, ENDLESS)
    await expect(answers(page)).to_contain_text("word1")
    await ask(page, "And then?")
    await expect(page.get_by_role("status")).to_contain_text(["Goes next: And then?"])
    await page.get_by_role("button", name="New conversation", exact=True).click()
    await expect(page.get_by_role("textbox", name="Message")).to_have_value("And then?")


async def test_a_reload_keeps_what_is_not_sent(page: Page) -> None:
    """What waits for an answer's end, and what is half written, is where it was written."""
    await ask(page, ENDLESS)
    await expect(answers(page)).to_contain_text("word1")
    await ask(page, "And then?")
    await page.get_by_role("textbox", name="Message").fill("And af")
    await page.reload()
    await expect(page.get_by_role("textbox", name="Message")).to_have_value("And then?\nAnd af")
    await expect(answers(page)).to_contain_text("word1")


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
    """What waits for the end of an answer goes back to the composer when the answer is stopped."""
    await ask(page, ENDLESS)
    await expect(answers(page)).to_contain_text("word1")
    await ask(page, "And then?")
    await page.get_by_role("button", name="Stop", exact=True).click()
    await ended(page, "stopped")
    message = page.get_by_role("textbox", name="Message")
    await expect(message).to_have_value("And then?")
    await expect(answers(page)).to_have_count(1)


COMPOSED = """(it) => { for (const keyCode of [13, 229]) {
  const options = { key: "Enter", keyCode, isComposing: keyCode === 13 };
  it.dispatchEvent(new KeyboardEvent("keydown", { ...options, bubbles: true, cancelable: true }));
} }"""


async def test_the_end_of_a_composition_sends_nothing(page: Page) -> None:
    """Enter that ends a composition of letters, also Safari's, neither sends a message nor ends an
    edit or a renaming."""
    await ask(page, "Hello, letters.")
    await ended(page)
    message = page.get_by_role("textbox", name="Message")
    await message.fill("And then?")
    await page.get_by_role("button", name="Edit").click()
    words = page.get_by_role("textbox", name="New words")
    await words.fill("Hello, kana.")
    await page.locator("#thread-list").get_by_role("button", name="Rename").first.press("Enter")
    title = page.get_by_role("textbox", name="Title")
    await title.fill("Letters")
    for field in (title, words, message):
        await field.evaluate(COMPOSED)
    await expect(title).to_have_value("Letters")
    await expect(words).to_have_value("Hello, kana.")
    await expect(message).to_have_value("And then?")
    await expect(answers(page)).to_have_text("You said: Hello, letters.")
    await title.press("Enter")
    await expect(page.locator("#thread-list")).to_contain_text("Letters")


async def test_the_field_is_as_high_as_what_is_written(page: Page) -> None:
    """Lines that wrap count as well, up to a part of the screen; once it is sent the field is one
    line again. An edit is as high as what it changes."""
    message = page.get_by_role("textbox", name="Message")

    async def height(field: Locator) -> float:
        return float(await field.evaluate("(it) => it.getBoundingClientRect().height"))

    line = await height(message)
    await message.fill("Some words that wrap. " * 15)
    assert 2.5 * line < await height(message) < 8 * line
    await message.fill("Some words that wrap. " * 500)
    assert await height(message) < 250
    await message.fill("Some words that wrap. " * 15)
    await message.press("Enter")
    await ended(page)
    assert await height(message) < 1.1 * line
    await page.get_by_role("button", name="Edit").click()
    assert await height(page.get_by_role("textbox", name="New words")) > 2.5 * line


async def test_who_types_writes_a_message(page: Page) -> None:
    """With the focus nowhere, the first letter goes to the message already."""
    await expect(page.locator("h1#name")).not_to_be_empty()
    await page.keyboard.type("Hi there.")
    await expect(page.get_by_role("textbox", name="Message")).to_have_value("Hi there.")
