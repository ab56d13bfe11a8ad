"""The page, when the server will not take a message now."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from playwright.async_api import Browser, Page, expect

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.browser.test_page import SLOWER, TEXT, answers, ask, ended, questions
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.users import KNOWS_TOKENS, token_of

LOW_PIXELS = 80


@pytest.fixture(scope="module")
def scarce(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of one answer at a time, and of one message a minute for each user."""
    limits = {"STEADY_STREAMS": "1", "STEADY_MESSAGES_PER_MINUTE": "1"}
    env = server_env(model.url, **KNOWS_TOKENS, **limits)
    folder = tmp_path_factory.mktemp("scarce")
    with LocalServer(find_config(Path(__file__)), env=env, folder=folder) as running:
        yield running


async def signed_in(browser: Browser, server: LocalServer, user: str) -> Page:
    page = await (await browser.new_context()).new_page()
    await page.goto(server.url)
    await page.get_by_label("Your token").fill(token_of(user))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


async def test_a_refusal_is_told_in_the_servers_words(
    browser: Browser, scarce: LocalServer, model: ModelServer
) -> None:
    """What soon will do is waited for; what is refused for long is the person's to ask again."""
    ada, ben = [await signed_in(browser, scarce, user) for user in ("ada", "ben")]
    await ask(ada, SLOWER)
    await expect(answers(ada)).to_contain_text("word1")
    await ask(ben, "Hello.")
    await expect(ben.locator("#link")).to_contain_text("This server has 1 streams open")
    await ben.set_viewport_size({"width": 360, "height": 740})
    header = await ben.locator("header").bounding_box()
    assert header
    assert header["height"] < LOW_PIXELS
    model.hurry()
    await ended(ada)
    await expect(answers(ada)).to_have_text(TEXT)
    await ended(ben)
    await expect(answers(ben)).to_have_text("You said: Hello.")
    await ask(ben, "Hello again.")
    await ended(ben, "error")
    told = answers(ben).last.get_by_role("alert")
    await expect(told).to_contain_text("More than 1 messages in a minute. Try again in")
    await expect(told.get_by_role("button", name="Try again")).to_be_visible()
    await expect(ben.get_by_role("textbox", name="Message")).to_have_value("Hello again.")
    await ask(ben, "Hello once more.")  # it takes the place of the one that is not in the thread
    await ended(ben, "error")
    await expect(questions(ben)).to_have_text(["Hello.", "Hello once more."])
    await ben.get_by_role("button", name="Try again").click()
    await ended(ben, "error")
    await expect(questions(ben)).to_have_text(["Hello.", "Hello once more."])
    await expect(ben.get_by_role("textbox", name="Message")).to_have_value("Hello once more.")
    for page in (ada, ben):
        await page.context.close()


# In one task of the page: what a person does in a moment.
SEND_AND_STOP = """ms => {
    const stop = () => document.querySelector("#stop").click();
    document.querySelector("#composer").requestSubmit();
    ms ? setTimeout(stop, ms) : stop();
}"""


async def test_a_question_that_is_stopped_at_once_is_not_lost(
    page: Page, server: LocalServer, model: ModelServer
) -> None:
    """It is in the thread, or, where its run had not begun, back where it was written."""
    message, random = page.get_by_role("textbox", name="Message"), Random(1)
    async with AgentClient(server.url) as agent:
        for n in range(16):
            question = f"Stopped at once, {n}?"
            model.on(question, Reply(TEXT, tokens_per_second=50))
            await message.fill(question)
            await page.evaluate(SEND_AND_STOP, random.choice([0, 0, 0, 20]))
            await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
            await ended(page, "stopped")
            state = await agent.sdk.threads.get_state(page.url.partition("#")[2])
            kept = [m["content"] for m in (state["values"] or {}).get("messages", [])]
            if question not in kept:
                await expect(message).to_have_value(question)
                await expect(questions(page).last).to_have_text(question)
