"""The list of conversations: what it says of each, and how any of them is reached."""

import re

from playwright.async_api import Locator, Page, expect

from client import AgentClient
from client.cli.local_server import LocalServer
from tests.browser.conftest import Open
from tests.browser.path_proxy import under_path
from tests.browser.test_page import SLOW, answers, ask, ended
from tests.model_server import ModelServer, Reply, ToolCall

MANY = 60


def entry(page: Page, title: str) -> Locator:
    return page.locator("#thread-list li").filter(has_text=title)


async def test_what_the_list_says(page: Page, open_page: Open, model: ModelServer) -> None:
    """A conversation is there from its first message on, in each tab: busy, then waiting for a
    decision, or neither; one that was stopped does not wait, and says so after a reload."""
    other = await open_page()
    call = ToolCall("save_note", {"title": "listed", "text": "Yes."})
    model.on("Wait in the list.", Reply("So.", tool_calls=[call]))
    await ask(page, "Wait in the list.")
    await ended(page, "interrupted")
    await expect(entry(page, "Wait in the list.")).to_contain_text("waits")
    await page.get_by_role("button", name="New conversation", exact=True).click()
    await ask(page, "stream 900 tokens at 30 per second")
    for tab in (page, other):
        await expect(entry(tab, "stream 900 tokens")).to_contain_text("busy")
    await expect(answers(page)).to_contain_text("word3")
    await page.get_by_role("button", name="Stop").click()
    await ended(page, "stopped")
    for tab in (page, other):
        await expect(entry(tab, "stream 900 tokens")).not_to_contain_text("busy")
        await expect(entry(tab, "stream 900 tokens")).not_to_contain_text("waits")
    await page.reload()
    await expect(answers(page)).to_contain_text("Stopped.")
    await expect(answers(page).locator(".note")).to_have_count(1)
    await ask(page, "Hello.")
    await ended(page)
    await page.reload()
    await expect(answers(page).last).to_have_text("You said: Hello.")
    await expect(answers(page).first).to_contain_text("Stopped.")


async def test_any_conversation_is_reached(page: Page, server: LocalServer) -> None:
    """More than fifty: the others are a button away, and any is found by words of its title."""
    async with AgentClient(server.url) as agent:
        for n in range(MANY):
            await agent.sdk.threads.create(metadata={"title": f"Kept {n:03}"})
    await page.reload()
    entries = page.locator("#thread-list li")
    await expect(entries).to_have_count(50)
    await expect(entry(page, "Kept 000")).to_have_count(0)
    await page.get_by_role("searchbox", name="Search conversations").fill("kept 00")
    await expect(entries).to_have_text([re.compile(f"Kept 00{n}") for n in reversed(range(10))])
    await page.get_by_role("searchbox", name="Search conversations").fill("")
    await expect(entries).to_have_count(50)
    await page.get_by_role("button", name="Show more").click()
    await expect(entry(page, "Kept 000")).to_have_count(1)
    await expect(page.get_by_role("button", name="Show more")).to_be_hidden()


async def test_six_tabs_can_be_stopped(page: Page, open_page: Open) -> None:
    """Each of them reads an answer, and so holds all connections of the browser; Stop works."""
    tabs = [page, *[await open_page() for _ in range(5)]]
    for tab in tabs:
        await ask(tab, "stream 900 tokens at 20 per second")
    for tab in tabs:
        await expect(answers(tab)).to_contain_text("word1")
    for tab in reversed(tabs):
        await tab.get_by_role("button", name="Stop").click()
        await ended(tab, "stopped")


async def test_under_a_path(server: LocalServer, open_page: Open) -> None:
    """Behind a proxy that serves it under a path, the page asks for nothing outside of it."""
    async with under_path(server.url) as url:
        page = await open_page(url)
        await ask(page, SLOW)
        await expect(answers(page)).to_contain_text("word2")
        await page.get_by_role("button", name="Stop").click()
        await ended(page, "stopped")
        await page.reload()
        await expect(answers(page)).to_contain_text("Stopped.")
        await expect(page.get_by_role("heading", name="steadystream")).to_be_visible()
