"""What a graph of somebody's own asks a person, answered on the page of a real server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from client.cli.local_server import LocalServer, find_config
from tests.browser.conftest import Open
from tests.browser.test_approval import waiting
from tests.browser.test_page import answers, ask, ended
from tests.conftest import server_env
from tests.model_server import ModelServer


@pytest.fixture(scope="module")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The project's server, with one more graph."""
    folder = tmp_path_factory.mktemp("asking")
    project = find_config(Path(__file__))
    config = json.loads(project.read_text())
    config["graphs"]["concierge"] = "tests.live.graphs.waiting:concierge"
    (folder / "langgraph.json").write_text(json.dumps(config))
    env = server_env(model.url, PYTHONPATH=str(project.parent))
    with LocalServer(folder / "langgraph.json", env=env, folder=folder) as running:
        yield running


async def reply(page: Page, words: str) -> None:
    await waiting(page).get_by_role("textbox", name="Your answer").fill(words)
    await waiting(page).get_by_role("button", name="Answer").click()


AT_ONCE = """() => new MutationObserver(() => {
    const choices = [...document.querySelectorAll('.decision button:not([disabled])')];
    choices.find(({ textContent }) => ['single', 'Yes'].includes(textContent))?.click();
}).observe(document.body, { childList: true, subtree: true })"""


async def test_an_answer_that_is_given_at_once_is_sent(open_page: Open) -> None:
    """A question is answered the moment it is there, before the end of the run that asked it."""
    page = await open_page()
    await page.locator("#options summary").click()
    await page.get_by_label("Assistant").select_option(label="concierge")
    await ask(page, "Book me a room.")
    await ended(page, "interrupted")
    await reply(page, "Oslo")
    await expect(waiting(page)).to_contain_text("How many nights in Oslo?")
    await page.evaluate(AT_ONCE)
    await reply(page, "3")
    await ended(page)
    await expect(answers(page).last).to_contain_text("Booked: 3 nights in Oslo, single bed.")


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_graphs_own_questions(open_page: Open, transport: str) -> None:
    """Each is asked as its schema says, answered, and the run goes on with the answers; one that
    does not fit is told, and asked again; a reload asks what still waits."""
    page = await open_page()
    await page.evaluate("(it) => localStorage.setItem('transport', it)", transport)
    await page.reload()
    await page.locator("#options summary").click()
    await page.get_by_label("Assistant").select_option(label="concierge")
    await ask(page, "Book me a room.")
    await ended(page, "interrupted")
    await expect(waiting(page)).to_contain_text("Which city?")
    await expect(page.locator("#alert")).to_contain_text("waits for your decision")
    await page.reload()
    await reply(page, "Oslo")
    await expect(waiting(page)).to_contain_text("How many nights in Oslo?")
    await reply(page, "many")
    fault = waiting(page).get_by_role("alert")
    await expect(fault).to_contain_text("not valid JSON of type integer")
    await reply(page, "0")
    await expect(fault).to_contain_text(re.compile("greater|minimum|least"))
    await reply(page, "3")
    await expect(waiting(page)).to_contain_text("Which bed?")
    await waiting(page).get_by_role("button", name="double").click()
    await expect(waiting(page)).to_contain_text("3 nights in Oslo, double bed: book it?")
    await waiting(page).get_by_role("button", name="Yes").click()
    await ended(page)
    await expect(answers(page).last).to_contain_text("Booked: 3 nights in Oslo, double bed.")
    await expect(waiting(page)).to_have_count(0)
    await page.reload()
    await expect(answers(page)).to_contain_text("Booked: 3 nights in Oslo, double bed.")
