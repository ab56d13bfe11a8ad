"""A person's decisions on the page."""

import json
import re

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.test_page import answers, ask, ended, stream_over
from tests.model_server import ModelServer, Reply, ToolCall


def waiting(page: Page) -> Locator:
    return page.get_by_role("region", name="Waits for your decision")


async def test_an_approval(page: Page, model: ModelServer) -> None:
    """A request is a card; edited and approved, the tool runs so, and the answer follows."""
    call = ToolCall("save_note", {"title": "page note", "text": "Before."})
    model.on("Save it, page.", Reply("I save.", tool_calls=[call]), Reply("Saved it."))
    await ask(page, "Save it, page.")
    await ended(page, "interrupted")
    await page.reload()  # whoever opens the thread later sees it, and can decide
    card = waiting(page)
    await expect(page.get_by_role("group", name="Tool save_note")).to_contain_text("waits for you")
    arguments = card.get_by_role("textbox", name="Arguments of save_note")
    await expect(arguments).to_have_value(re.compile("Before"))
    await arguments.fill("not json")
    await card.get_by_role("button", name="Approve as edited").click()
    await expect(card.get_by_role("alert")).to_contain_text("not valid JSON")
    await arguments.fill('{"title": "page note", "text": "After."}')
    await card.get_by_role("button", name="Approve as edited").click()
    await ended(page)
    await expect(answers(page).last).to_contain_text("Saved it.")
    tool = page.get_by_role("group", name="Tool save_note")
    await expect(tool).to_have_count(1)
    await expect(tool).to_contain_text("Saved as")
    await expect(tool).to_contain_text("After.")
    decided = page.get_by_role("region", name="Your decision")
    await expect(decided).to_have_text("save_note Approved as edited.", use_inner_text=True)


async def test_a_rejection(page: Page, model: ModelServer) -> None:
    """Rejected with a reason, the tool does not run and the model hears why."""
    call = ToolCall("save_note", {"title": "never", "text": "No."})
    model.on("Save never.", Reply(tool_calls=[call]), Reply("Then not."))
    await ask(page, "Save never.")
    card = waiting(page)
    await card.get_by_role("textbox", name="Reason, about save_note").fill("Too early.")
    await card.get_by_role("button", name="Reject").click()
    await ended(page)
    await expect(answers(page).last).to_contain_text("Then not.")
    decided = page.get_by_role("region", name="Your decision")
    await expect(decided).to_have_text("save_note Rejected: Too early.", use_inner_text=True)
    tool = page.get_by_role("group", name="Tool save_note")
    await expect(tool).to_have_attribute("data-status", "rejected")
    await page.reload()
    await expect(tool).to_have_attribute("data-status", "rejected")
    assert "Too early." in model.requests[-1]["messages"][-1]["content"]


async def test_going_on_without_a_decision(page: Page, model: ModelServer) -> None:
    """Whoever sends another message has not decided, and no longer can."""
    call = ToolCall("save_note", {"title": "left", "text": "No."})
    model.on("Save what is left.", Reply(tool_calls=[call]))
    await ask(page, "Save what is left.")
    await ended(page, "interrupted")
    await ask(page, "Never mind.")
    await ended(page)
    decided = page.get_by_role("region", name="Your decision")
    await expect(decided).to_have_text("save_note Not decided.", use_inner_text=True)
    tool = page.get_by_role("group", name="Tool save_note")
    await expect(tool).to_contain_text("not carried out")
    await page.reload()
    await expect(tool).to_contain_text("not carried out")
    await expect(waiting(page)).to_have_count(0)


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_decision_that_is_not_taken(page: Page, model: ModelServer, transport: str) -> None:
    """What is wrong is told beside the controls, and they can be used again."""
    call = ToolCall("save_note", {"title": "twice", "text": "Decided."})
    model.on(f"Decide over {transport}.", Reply(tool_calls=[call]), Reply("So it is."))
    await stream_over(page, transport)
    await ask(page, f"Decide over {transport}.")
    await ended(page, "interrupted")
    edited = waiting(page).get_by_role("textbox", name="Arguments of save_note")
    await edited.fill("[1]")  # JSON, and no arguments
    await waiting(page).get_by_role("button", name="Approve as edited").click()
    await expect(waiting(page).get_by_role("alert")).not_to_be_empty()
    await expect(answers(page)).to_have_count(1)
    await waiting(page).get_by_role("button", name="Approve", exact=True).click()
    await ended(page)
    await expect(answers(page)).to_have_count(2)
    await expect(page.get_by_role("group", name="Tool save_note")).to_have_count(1)
    await expect(answers(page).last).to_contain_text("So it is.")


async def test_two_requests_in_one_step(page: Page, model: ModelServer) -> None:
    """Each has its own controls; nothing goes on until both are decided, and then both do."""
    calls = [ToolCall("save_note", {"title": f"page {n}", "text": "Hi."}) for n in ("one", "two")]
    model.on("Save both, page.", Reply(tool_calls=calls), Reply("One of them."))
    await ask(page, "Save both, page.")
    await ended(page, "interrupted")
    card = waiting(page)
    first, second = (card.get_by_role("group", name="save_note").nth(at) for at in (0, 1))
    asked = len(model.requests)
    await first.get_by_role("textbox", name="Reason, about save_note").fill("I have it.")
    await first.get_by_role("button", name="Respond").click()
    await expect(first).to_have_text("save_note Answered: I have it.", use_inner_text=True)
    await expect(second.get_by_role("button", name="Approve", exact=True)).to_be_focused()
    assert len(model.requests) == asked
    await second.get_by_role("button", name="Approve", exact=True).click()
    await ended(page)
    await expect(answers(page).last).to_contain_text("One of them.")
    tools = page.get_by_role("group", name="Tool save_note")
    await expect(tools).to_have_count(2)
    await expect(tools.nth(0)).to_contain_text("I have it.")
    await expect(tools.nth(1)).to_contain_text("Saved as")
    told = [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "tool"]
    assert told[0] == "I have it."
    assert len(told) == 2


OTHER_REQUESTS = """
async ([requests, schema]) => {
  const { Answer } = await import("/page/conversation.js");
  window.sent = [];
  const onDecide = async (answer, ...decided) => void window.sent.push(decided);
  const answer = new Answer({ onDecide });
  document.querySelector("#turns").append(answer.outer);
  answer.take({ type: "interrupt", id: "one", requests, response_schema: schema });
  answer.take({ type: "interrupt", id: "one", requests, response_schema: schema });
}
"""


@pytest.mark.parametrize(
    ("requests", "schema", "press", "answer"),
    [
        ("Which city?", None, "Answer", "Oslo"),
        ("Which numbers?", {"type": "array"}, "Answer", [1, 2]),
        ({"go": "on?"}, {"type": "boolean"}, "Yes", True),
        ("Which?", {"enum": ["left", "right"]}, "right", "right"),
        (
            {"type": "tool_approval", "tool_call_id": "c", "name": "f", "args": {"x": 1}},
            {"anyOf": [{"properties": {"type": {"const": kind}}} for kind in ("approve", "edit")]},
            "Approve as edited",
            {"type": "edit", "edited_action": {"name": "f", "args": {"x": 1}}},
        ),
    ],
)
async def test_requests_of_any_form(
    page: Page, requests: object, schema: object, press: str, answer: object
) -> None:
    """A graph's own question and a call's own approval are answered by the interrupt's id; a
    request that comes again takes the place of the first."""
    await page.evaluate(OTHER_REQUESTS, [requests, schema])
    card = waiting(page)
    await expect(card).to_have_count(1)
    if press == "Answer":
        await card.get_by_role("textbox", name="Your answer").fill(
            answer if isinstance(answer, str) else json.dumps(answer)
        )
    await card.get_by_role("button", name=press, exact=True).click()
    assert await page.evaluate("window.sent") == [["resume", {"answers": {"one": answer}}]]
    await expect(page.get_by_role("region", name="Your decision")).to_be_visible()
