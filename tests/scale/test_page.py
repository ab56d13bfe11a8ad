"""The chat page on a scaled-out server, whose lists tell less of a thread."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import (  # noqa: F401  (fixtures)
    Open,
    browser,
    context,
    faults,
    open_page,
    page,
)
from tests.browser.test_conversations import entry
from tests.browser.test_messages import (  # noqa: F401  (tests)
    test_a_long_thread_comes_once,
    test_versions_that_another_program_made,
)
from tests.browser.test_page import answers, ask, ended, questions
from tests.model_server import ModelServer, Reply, ToolCall
from tests.scale.cluster import Cluster


@pytest.fixture
def server(cluster: Cluster) -> Cluster:
    """Where the page is opened."""
    return cluster


@pytest.mark.timeout(300)
async def test_the_page_has_its_conversations(
    page: Page,  # noqa: F811
    open_page: Open,  # noqa: F811
    model: ModelServer,
) -> None:
    """They are listed with titles and what waits, opened, renamed, and stopped ones say so; what
    another tab asks is seen."""
    call = ToolCall("save_note", {"title": "scaled", "text": "Yes."})
    model.on("Wait, both of you.", Reply("So.", tool_calls=[call]), Reply("Done so."))
    await ask(page, "Wait, both of you.")
    await ended(page, "interrupted")
    await expect(entry(page, "Wait, both of you.")).to_contain_text("waits")
    await page.get_by_role("button", name="New conversation", exact=True).click()
    await ask(page, "stream 900 tokens at 30 per second")
    await expect(answers(page)).to_contain_text("word3")
    await page.get_by_role("button", name="Stop", exact=True).click()
    await ended(page, "stopped")
    await expect(entry(page, "stream 900 tokens")).not_to_contain_text("waits")
    await page.reload()
    await expect(answers(page)).to_contain_text("Stopped.")
    await expect(entry(page, "stream 900 tokens")).to_have_count(1)
    other = await open_page(fragment=f"#{page.url.partition('#')[2]}")
    await expect(questions(other)).to_have_count(1)
    await ask(page, "Hello, both.")
    await ended(page)
    await expect(answers(other).last).to_have_text("You said: Hello, both.")
    await page.get_by_role("searchbox", name="Search conversations").fill("both of you")
    await expect(page.locator("#thread-list li")).to_have_count(1)
    await entry(page, "Wait, both of you.").get_by_role("button").first.click()
    await page.get_by_role("button", name="Approve", exact=True).click()
    await ended(page)
    await expect(answers(page).last).to_contain_text("Done so.")
    await page.get_by_role("button", name="Rename Wait, both of you.").press("Enter")
    await page.get_by_role("textbox", name="Title").fill("Both renamed")
    await page.keyboard.press("Enter")
    await page.reload()
    await expect(entry(page, "Both renamed")).to_have_count(1)
    await expect(page.get_by_role("alert")).to_have_count(0)
