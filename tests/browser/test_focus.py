"""Where the keyboard is, and what a screen reader hears, when the page changes under them."""

import re

from playwright.async_api import Browser, Page, expect

from client.cli.local_server import LocalServer
from tests.browser.test_page import ENDLESS, answers, ask, ended
from tests.model_server import ModelServer, Reply, ToolCall


async def test_the_focus_is_never_lost(page: Page, model: ModelServer) -> None:
    """A button that is gone once pressed leaves the focus at the message or the new answer."""
    await ask(page, ENDLESS)
    await expect(answers(page)).to_contain_text("word1")
    await page.get_by_role("button", name="Stop", exact=True).press("Enter")
    await ended(page, "stopped")
    await expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    call = ToolCall("save_note", {"title": "focus", "text": "Kept."})
    model.on("Save the focus.", Reply(tool_calls=[call]), Reply("Kept it."))
    await ask(page, "Save the focus.")
    await ended(page, "interrupted")
    await page.get_by_role("button", name="Approve", exact=True).press("Enter")
    await ended(page)
    await expect(answers(page).last).to_be_focused()
    await page.get_by_role("button", name="Answer again").press("Enter")
    await ended(page, "interrupted")
    await expect(answers(page).last).to_be_focused()


async def test_the_list_keeps_the_focus(page: Page) -> None:
    """Who is on a conversation stays on it when the list is told anew."""
    for text in ("Hello, focused.", "Hello, other."):
        await page.get_by_role("button", name="New conversation", exact=True).click()
        await ask(page, text)
        await ended(page)
    entry = page.locator("#thread-list").get_by_role("button", name="Hello, focused.").first
    await entry.press("Enter")
    await expect(answers(page)).to_have_text("You said: Hello, focused.")
    async with page.expect_response("**/threads/search"):
        await page.evaluate(
            "new BroadcastChannel('steadystream').postMessage({ threadId: 'another' })"
        )
    await expect(entry).to_be_focused()


async def test_a_long_answer_is_announced_as_it_is_written(page: Page, model: ModelServer) -> None:
    """A screen reader hears each paragraph once, when it is finished: not all at the end."""
    text = "First of it.\n\nSecond of it.\n\nThird, " + "and so on, " * 60
    model.on("Speak at length.", Reply(text, tokens_per_second=2))
    await ask(page, "Speak at length.")
    announcer = page.locator("#announcer p")
    await expect(announcer).to_have_text(["First of it."])
    await expect(answers(page)).to_have_attribute("aria-busy", "true")
    model.hurry()
    await ended(page)
    await expect(announcer).to_have_text(["First of it.", "Second of it.", re.compile("^Third")])


async def test_a_decision_is_announced(page: Page, model: ModelServer) -> None:
    """A screen reader hears the words, no button, and that a decision is waited for."""
    call = ToolCall("save_note", {"title": "loud", "text": "Said."})
    model.on("Save it loudly.", Reply("So:\n\n```py\nx = 1\n```\n", tool_calls=[call]))
    await ask(page, "Save it loudly.")
    await ended(page, "interrupted")
    announcer = page.locator("#announcer")
    await expect(announcer).to_contain_text("x = 1")
    await expect(page.locator("#alert")).to_contain_text("waits for your decision")
    await expect(announcer).not_to_contain_text("Copy")


async def test_the_drawer_says_whether_it_is_open(browser: Browser, server: LocalServer) -> None:
    """A conversation, a new one and Escape close it, and its button knows."""
    context = await browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = await context.new_page()
    await page.goto(server.url)
    await ask(page, "Hello, drawer.")
    await ended(page)
    drawer = page.get_by_role("navigation", name="Conversations")
    button = page.get_by_role("button", name="Conversations")
    entry = drawer.get_by_role("button", name="Hello, drawer.").first
    await expect(page.locator("#thread-list")).to_contain_text("Hello, drawer.")
    for leave in (
        entry.click,
        drawer.get_by_role("button", name="New conversation", exact=True).click,
        lambda: page.keyboard.press("Escape"),
    ):
        await button.click()
        await expect(button).to_have_attribute("aria-expanded", "true")
        await leave()
        await expect(button).to_have_attribute("aria-expanded", "false")
        await expect(drawer).to_be_hidden()
    await expect(button).to_be_focused()
    await context.close()
