"""The page, when a model breaks off and is tried again."""

import pytest
from playwright.async_api import expect

from client.cli.local_server import LocalServer
from tests.browser.conftest import Open
from tests.browser.test_page import answers, ask, ended
from tests.model_server import Fault, ModelServer, Reply, ToolCall


@pytest.mark.parametrize("said", [("I", " look."), ""])
async def test_a_model_that_breaks_off_in_a_call(
    open_page: Open, model: ModelServer, retrying: LocalServer, said: tuple[str, ...] | str
) -> None:
    """Of the try that broke off no thought, no word and no half-written call is left."""
    call = ToolCall("search_docs", {"query": " ".join(f"frames{n}" for n in range(20))})
    first = Reply(
        said,
        reasoning="Where?",
        tool_calls=[call],
        tokens_per_second=8,
        fails=[Fault("disconnect", after_tokens=8)],
    )
    question = f"Search twice, after {len(said)} words."
    model.on(question, first, Reply("Found."))
    page = await open_page(retrying.url)
    await ask(page, question)
    cards = page.get_by_role("group", name="Tool search_docs")
    await expect(cards).to_have_attribute("data-status", "writing")
    model.hurry()
    await ended(page)
    await expect(cards).to_have_count(1)
    await expect(cards).to_have_attribute("data-status", "ok")
    await expect(answers(page).get_by_text("Reasoning")).to_have_count(1)
    texts = [*(["".join(said)] if said else []), "Found."]
    await expect(answers(page).locator(".text")).to_have_text(texts)
