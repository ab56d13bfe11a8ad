"""The page, when the server behind it is killed in the middle of an answer."""

import asyncio
from pathlib import Path

from playwright.async_api import Locator, Page, expect

from client.cli.local_server import LocalServer, find_config
from tests.browser.conftest import Open
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply

TEXT = " ".join(f"word{n}" for n in range(60))


async def test_the_answer_goes_on_at_the_next_server(
    open_page: Open, model: ModelServer, tmp_path: Path
) -> None:
    """The partial stays, the page says what happened, and a button has the whole answer written."""
    model.on("Tell it.", *[Reply(TEXT, tokens_per_second=5.0)] * 3)
    with LocalServer(
        find_config(Path(__file__)), env=server_env(model.url), folder=tmp_path
    ) as server:
        page = await open_page(server.url)
        await page.get_by_role("textbox", name="Message").fill("Tell it.")
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(last_answer(page)).to_contain_text("word3")
        await asyncio.to_thread(server.kill)
        model.on("Tell it.", *[Reply(TEXT)] * 3)
        await asyncio.to_thread(server.start)
        await expect(page.get_by_role("alert")).to_contain_text("restarted")
        await page.evaluate("dispatchEvent(new Event('focus'))")  # it looks whether there is news
        other = await open_page(server.url, f"#{page.url.partition('#')[2]}")
        await expect(other.get_by_role("alert")).to_contain_text("not finished")
        await expect(last_answer(page)).to_contain_text("word3")
        await page.get_by_role("button", name="Go on").click()
        await expect(last_answer(page)).to_have_attribute("data-status", "success")
        await expect(last_answer(page).locator(".text")).to_have_text(TEXT)


def last_answer(page: Page) -> Locator:
    return page.get_by_role("article", name="Answer").last
