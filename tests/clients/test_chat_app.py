"""The front end that `npm create agent-chat-app` makes: agent-chat-ui, of the SDK 0.0.57."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.async_api import BrowserContext, Page, expect

from client.cli.local_server import LocalServer
from tests.clients.environments import HERE, needs, served

ANSWER = " ".join(f"word{number}" for number in range(40))


@pytest.fixture(scope="session")
def chat_app_url() -> Iterator[str]:
    needs(HERE / "chat_app/build/dist")
    with served(HERE / "chat_app/build/dist") as url:
        yield url


@pytest.fixture
async def chat(server: LocalServer, chat_app_url: str, context: BrowserContext) -> Page:
    page = await context.new_page()
    query = urlencode({"apiUrl": server.url, "assistantId": "agent"})
    await page.goto(f"{chat_app_url}/?{query}")
    return page


async def ask(page: Page, text: str) -> None:
    await page.locator("textarea").fill(text)
    await page.get_by_role("button", name="Send").click()


async def test_turns_and_stop(chat: Page) -> None:
    """Answers stream in and stand once; a stopped one stays, also when the page is loaded again."""
    await ask(chat, "stream 40 tokens at 60 per second")
    await expect(chat.get_by_text("word5 word6")).to_be_visible()
    await expect(chat.get_by_text(ANSWER)).to_have_count(1)
    await expect(chat.get_by_role("button", name="Send")).to_be_visible()
    await ask(chat, "stream 900 tokens at 20 per second")
    await expect(chat.get_by_text("word39 word40 word41")).to_be_visible()
    await chat.get_by_role("button", name="Cancel").click()
    await expect(chat.get_by_role("button", name="Send")).to_be_visible()
    await expect(chat.get_by_text("word39 word40 word41")).to_have_count(1)
    await chat.reload()  # the SDK 0.0.57 would go on from the state before the stopped run
    await expect(chat.get_by_text("word39 word40 word41")).to_have_count(1)
    await ask(chat, "Are you there?")
    await expect(chat.get_by_text("You said: Are you there?")).to_have_count(1)
    await expect(chat.get_by_text(ANSWER, exact=True)).to_have_count(1)
    await expect(chat.get_by_text("word39 word40 word41")).to_have_count(1)
