"""The list of conversations: what it says of each, and how any of them is reached."""

import asyncio
import re
from collections.abc import Sequence

from playwright.async_api import BrowserContext, FilePayload, Locator, Page, expect

from client import AgentClient
from client.cli.local_server import LocalServer
from tests.browser.conftest import Open
from tests.browser.path_proxy import under_path
from tests.browser.test_messages import PNG
from tests.browser.test_page import ENDLESS, answers, ask, ended, questions
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
    await ask(page, "stream 901 tokens at 10 per second")
    for tab in (page, other):
        await expect(entry(tab, "stream 901 tokens")).to_contain_text("busy")
    await expect(answers(page)).to_contain_text("word3")
    await page.get_by_role("button", name="Stop", exact=True).click()
    await ended(page, "stopped")
    for tab in (page, other):
        await expect(entry(tab, "stream 901 tokens")).not_to_contain_text("busy")
        await expect(entry(tab, "stream 901 tokens")).not_to_contain_text("waits")
    await page.reload()
    await expect(answers(page)).to_contain_text("Stopped.")
    await expect(answers(page).locator(".note")).to_have_count(1)
    await ask(page, "Hello.")
    await ended(page)
    await page.reload()
    await expect(answers(page).last).to_have_text("You said: Hello.")
    await expect(answers(page).first).to_contain_text("Stopped.")


async def test_stopped_before_its_first_word(page: Page, model: ModelServer) -> None:
    """An answer without a word says that it was stopped, also after a reload."""
    model.on("Say nothing.", Reply("Never.", first_token_seconds=60.0))
    await ask(page, "Say nothing.")
    await asyncio.to_thread(model.wait_for, lambda m: m.open_streams > 0)
    await page.get_by_role("button", name="Stop", exact=True).click()
    await ended(page, "stopped")
    for _ in range(2):
        await expect(answers(page)).to_have_text("Stopped.")
        await page.reload()


async def test_the_list_is_sent_no_images(page: Page) -> None:
    """A conversation that begins with an image has a title, and its list stays small."""
    image = FilePayload(name="dot.png", mimeType="image/png", buffer=PNG)
    await page.locator("#files").set_input_files([image])
    await ask(page, "What is in this image?")
    await ended(page)
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.post_data or ""))
    await page.reload()
    await expect(entry(page, "What is in this image?")).to_have_count(1)
    await expect(answers(page)).to_have_count(1)
    thread_id = page.url.partition("#")[2]
    assert not [body for body in asked if "extract" in body and thread_id in body]


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
    await page.get_by_role("searchbox", name="Search conversations").fill("no such words")
    await expect(page.get_by_text("No title has these words.")).to_be_visible()
    await page.get_by_role("searchbox", name="Search conversations").fill("")
    await expect(page.get_by_text("No title has these words.")).to_be_hidden()
    await expect(entries).to_have_count(50)
    await page.get_by_role("button", name="Show more").click()
    await expect(entry(page, "Kept 000")).to_have_count(1)
    await expect(page.get_by_role("button", name="Show more")).to_be_hidden()


NO_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })"


async def all_stream_and_stop(tabs: Sequence[Page]) -> None:
    """Each tab is stopped while all of them read their answers."""
    for tab in tabs:
        await ask(tab, ENDLESS)
    for tab in tabs:
        await expect(answers(tab)).to_contain_text("word1")
    for tab in reversed(tabs):
        await tab.get_by_role("button", name="Stop", exact=True).click()
        await ended(tab, "stopped")


async def test_six_tabs_can_be_stopped(context: BrowserContext, open_page: Open) -> None:
    """Where no tab knows of the others (plain HTTP, from another machine), all read over SSE, and
    so hold all connections of the browser; Stop works."""
    await context.add_init_script(NO_LOCKS)
    tabs = [await open_page() for _ in range(6)]
    await all_stream_and_stop(tabs)


async def test_a_seventh_tab_beside_six(page: Page, open_page: Open) -> None:
    """Six that read answers leave it connections: it loads, asks, stops, and reads along, and so do
    they; each has its own answer."""
    six = [page, *[await open_page() for _ in range(5)]]
    for n, tab in enumerate(six):
        await ask(tab, f"stream 8{n}0 tokens at 5 per second")
    for tab in six:
        await expect(answers(tab)).to_contain_text("word1")
    seventh = await open_page()
    await expect(entry(seventh, "stream 800 tokens")).to_contain_text("busy")
    await ask(seventh, ENDLESS)
    await expect(answers(seventh)).to_contain_text("word3")
    await seventh.get_by_role("button", name="Stop", exact=True).click()
    await ended(seventh, "stopped")
    reader = await open_page(fragment=f"#{six[0].url.partition('#')[2]}")
    await expect(answers(reader)).to_contain_text("word9")
    await expect(questions(reader)).to_have_text(["stream 800 tokens at 5 per second"])
    for n, tab in enumerate(six):
        await expect(entry(tab, f"stream 8{n}0 tokens")).to_have_count(1)
        await tab.get_by_role("button", name="Stop", exact=True).click()
        await ended(tab, "stopped")
    await ended(reader, "stopped")


async def test_a_seventh_tab_where_no_socket_gets_through(
    context: BrowserContext, open_page: Open
) -> None:
    """Behind a proxy that lets no WebSocket through, all read over SSE, and Stop works."""
    await context.route_web_socket("**/ws/chat*", lambda socket: socket.close())
    tabs = [await open_page() for _ in range(5)]
    await all_stream_and_stop(tabs)


async def test_under_a_path(server: LocalServer, open_page: Open) -> None:
    """Behind a proxy that serves it under a path, the page asks for nothing outside of it."""
    async with under_path(server.url) as url:
        page = await open_page(url)
        await ask(page, ENDLESS)
        await expect(answers(page)).to_contain_text("word2")
        await page.get_by_role("button", name="Stop", exact=True).click()
        await ended(page, "stopped")
        await page.reload()
        await expect(answers(page)).to_contain_text("Stopped.")
        await expect(page.get_by_role("heading", name="steadystream")).to_be_visible()
