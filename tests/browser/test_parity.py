"""One question, four surfaces: the SDK client, SSE, the WebSocket and the page."""

import json
from dataclasses import dataclass

import pytest
from playwright.async_api import Page, expect

from client import AgentClient, SteadyError, to_json
from client.cli.local_server import LocalServer
from tests.browser.test_page import answers, ask, ended
from tests.live.test_websocket import say, talking, turn
from tests.model_server import Fault, ModelServer, Reply, ToolCall
from tests.sse_reader import JSON
from tests.sse_reader import ask as ask_sse


@dataclass
class Told:
    """What a surface said: the text, the calls with their results, and how it ended."""

    text: str
    calls: list[tuple[str, JSON, str]]
    status: str


def told(events: list[JSON]) -> Told:
    results = {e["id"]: e["content"] for e in events if e["type"] == "tool_result"}
    calls = [e for e in events if e["type"] == "tool_call"]
    return Told(
        "".join(e["content"] for e in events if e["type"] == "token"),
        [(call["tool"], call["args"], results.get(call["id"], "")) for call in calls],
        events[-1]["status"],
    )


async def on_client(agent: AgentClient, question: str) -> list[JSON]:
    events = list[JSON]()
    async with agent.stream(question) as run:
        try:
            async for event in run:
                events.append(to_json(event))
        except SteadyError as error:
            events += map(to_json, run.failure(error))
    return events


async def on_page(page: Page, question: str, status: str) -> Told:
    await ask(page, question)
    await ended(page, status)
    await expect(answers(page)).to_have_count(1)
    texts = await answers(page).locator(".text").all_inner_texts()
    calls = []
    for card in await page.get_by_role("group", name="Tool").all():
        shown = await card.locator(".tool-args").inner_text()
        name = await card.locator(".tool-name").inner_text()
        result = await card.locator(".tool-result").text_content()
        calls.append((name, json.loads(shown), result or ""))
    return Told("".join(texts), calls, status)


MULTIPLY = ToolCall("calculate", {"expression": "6 * 7"})
DIVIDE = ToolCall("calculate", {"expression": "1 / 0"})
QUESTIONS = {
    "plain": [Reply("Just text, with ünïcödé.")],
    "a call": [Reply("Hm.", tool_calls=[MULTIPLY]), Reply("It is 42.")],
    "two calls at once": [Reply(tool_calls=[MULTIPLY, DIVIDE]), Reply("Both done.")],
    "calls in a row": [Reply(tool_calls=[MULTIPLY]), Reply(tool_calls=[DIVIDE]), Reply("Done.")],
    "a model that breaks off": [Reply(("a", "b", "c"), fault=Fault("disconnect", 2))],
}


@pytest.mark.parametrize("case", QUESTIONS)
async def test_all_surfaces_say_the_same(
    server: LocalServer, agent: AgentClient, page: Page, model: ModelServer, case: str
) -> None:
    """Text, tool calls with their results, and the end are equal on every surface."""
    question = f"Parity: {case}."
    model.on(question, *QUESTIONS[case])
    over_sse = told(await ask_sse(server.url, "/agent/stream", {"message": question}))
    async with talking(server) as socket:
        await say(socket, type="message", message=question)
        over_socket = told(await turn(socket))
    assert over_socket == over_sse
    assert await on_page(page, question, over_sse.status) == over_sse
    assert told(await on_client(agent, question)) == over_sse
