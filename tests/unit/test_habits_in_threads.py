"""Each habit of the table through the synchronous stream of the chat model, over a real socket."""

import re
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage

from agent.model.chat_model import ChatModel, make_chat_model
from agent.model.errors import ModelError
from agent.settings import Settings
from agent.tools import calculate
from tests.habits import HABITS, Habit
from tests.habits_of_responses import RESPONSES
from tests.model_server import ModelServer, Reply


def chat_of(model: ModelServer, **more: Any) -> ChatModel:
    fields: dict[str, Any] = {"openai_base_url": model.url, "openai_api_key": "test-key", **more}
    return make_chat_model(Settings(_env_file=None, steady_model_retries=0, **fields))


@pytest.fixture(scope="module")
def chat(model: ModelServer) -> ChatModel:
    return chat_of(model)


@pytest.fixture(scope="module")
def responses(model: ModelServer) -> ChatModel:
    return chat_of(model, steady_responses_api=True)


def reasoning_of(message: AIMessageChunk) -> str:
    blocks = (block for block in message.content_blocks if block["type"] == "reasoning")
    return "".join(str(block.get("reasoning", "")) for block in blocks)


@pytest.mark.parametrize("habit", RESPONSES, ids=lambda habit: habit.name)
def test_a_stream_of_the_responses_api_is_read_rightly(
    responses: ChatModel, model: ModelServer, habit: Habit
) -> None:
    """The same of the Responses API, as LangChain puts it together."""
    question = f"{habit.name}, of the Responses API?"
    model.on(question, Reply(raw=habit.raw, raw_type=habit.type, raw_headers=habit.headers))
    stream = responses.bind_tools([calculate]).stream([HumanMessage(question)])
    if habit.error:
        with pytest.raises(ModelError, match=habit.error):
            list(stream)
        return
    whole: AIMessageChunk = reduce(add, stream)
    assert whole.text == (habit.before if habit.expressions else habit.text)
    assert [call["args"].get("expression") for call in whole.tool_calls] == list(habit.expressions)
    assert len({call["id"] for call in whole.tool_calls}) == len(habit.expressions)
    assert reasoning_of(whole) == habit.reasoning


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.name)
def test_a_synchronous_stream_reads_it_rightly(
    chat: ChatModel, model: ModelServer, habit: Habit
) -> None:
    """Text, calls and failure are those that the asynchronous stream has."""
    question = f"{habit.name}, in a thread?"
    model.on(question, Reply(raw=habit.raw, raw_type=habit.type, raw_headers=habit.headers))
    stream = chat.bind_tools([calculate]).stream([HumanMessage(question)])
    if habit.error:
        with pytest.raises(ModelError) as failure:
            list(stream)
        assert re.search(habit.error, str(failure.value))
        return
    whole: AIMessageChunk = reduce(add, stream)
    assert whole.text == habit.text or habit.expressions
    assert [call["args"]["expression"] for call in whole.tool_calls] == list(habit.expressions)
    assert {call["name"] for call in whole.tool_calls} <= {"calculate"}
    assert len({call["id"] for call in whole.tool_calls}) == len(habit.expressions)
    assert whole.additional_kwargs.get("reasoning_content", "") == habit.reasoning
