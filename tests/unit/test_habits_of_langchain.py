"""The same habits with LangChain alone: what it understands is known, and a change is seen."""

import asyncio
import re
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from tests.habits import HABITS, SAID, Habit
from tests.habits_of_responses import RESPONSES
from tests.model_server import ModelServer, Reply

REASONING_LOST = "reasoning"


@tool
def calculate(expression: str) -> str:
    """Calculates."""
    return expression


async def is_right(url: str, model: ModelServer, habit: Habit, of_responses: bool = False) -> bool:
    """Whether the agent's text and calls are those that were meant, or it told a failure."""
    question = f"LangChain: {habit.name}{' of responses' if of_responses else ''}?"
    model.on(question, Reply(raw=habit.raw, raw_type=habit.type, raw_headers=habit.headers),
             Reply(SAID))  # fmt: skip
    chat = ChatOpenAI(
        model="m", base_url=url, api_key="k", max_retries=0, streaming=True,
        use_responses_api=of_responses,
    )  # fmt: skip
    agent = create_agent(chat, [calculate])
    try:
        async with asyncio.timeout(60):
            state: dict[str, Any] = await agent.ainvoke({"messages": [("user", question)]})
    except Exception as error:
        return bool(habit.error and re.search(habit.error, str(error)))
    messages = state["messages"]
    calls = [call for m in messages for call in getattr(m, "tool_calls", ())]
    if habit.error or len({call["id"] for call in calls}) < len(calls):
        return False
    thought = "".join(m.additional_kwargs.get("reasoning_content") or "" for m in messages)
    blocks = [block for m in messages for block in m.content_blocks]
    thought += "".join(b.get("reasoning", "") for b in blocks if b["type"] == "reasoning")
    usage = [m.usage_metadata for m in messages[1:2] if m.usage_metadata]
    counts = [(each["input_tokens"], each["output_tokens"]) for each in usage]
    return (
        messages[-1].text == habit.text
        and [(call["name"], call["args"].get("expression")) for call in calls]
        == [("calculate", expression) for expression in habit.expressions]
        and thought == habit.reasoning
        and (habit.usage is None or counts == [habit.usage])
    )


async def test_what_langchain_understands() -> None:
    """The table says which habits LangChain understands: where it learns one, our part may go."""
    with ModelServer() as model:
        found = {habit.name: await is_right(model.url, model, habit) for habit in HABITS}
    assert {h.name: h.langchain for h in HABITS if h.langchain != found[h.name]} == {}


async def test_what_langchain_understands_of_responses() -> None:
    """The same of the Responses API."""
    with ModelServer() as model:
        found = {h.name: await is_right(model.url, model, h, True) for h in RESPONSES}
    assert {h.name: h.langchain for h in RESPONSES if h.langchain != found[h.name]} == {}
