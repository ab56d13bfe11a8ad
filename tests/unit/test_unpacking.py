"""Messages that are read from storage without being checked are what the checked ones are."""

import gc
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from pydantic import BaseModel

from agent.storage.serializer import StoredMessages

CALL = {"name": "calculate", "args": {"expression": "6 * 7"}, "id": "call-1", "type": "tool_call"}
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
MESSAGES: list[BaseMessage] = [
    HumanMessage("What is 6 x 7?", id="1", name="ada"),
    HumanMessage([{"type": "text", "text": "In blocks."}]),
    SystemMessage("Be brief."),
    AIMessage("", id="2", tool_calls=[CALL], usage_metadata=USAGE, response_metadata={"a": [1]}),
    ToolMessage("42", id="3", tool_call_id="call-1", status="error", artifact={"raw": (4, 2)}),
    AIMessageChunk("Half", id="4"),
    RemoveMessage("1"),
]


class Plan(BaseModel):
    """A type of a user's own, in a state of their own."""

    steps: list[str]


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other and one.__dict__ == other.__dict__


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_the_same(message: BaseMessage) -> None:
    """In its kind, its fields, those that were set, and in what is written of it again."""
    written = JsonPlusSerializer().dumps_typed(message)
    ours, checked = StoredMessages().loads_typed(written), JsonPlusSerializer().loads_typed(written)
    assert same(ours, checked)
    assert ours.model_fields_set == checked.model_fields_set
    assert StoredMessages().dumps_typed(ours) == written


@pytest.mark.parametrize("wrapped", [{"messages": MESSAGES}, _DeltaSnapshot(MESSAGES)])
def test_a_state_is_the_same(wrapped: Any) -> None:
    """So are all messages of a state, or of a snapshot of a delta channel."""
    written = JsonPlusSerializer().dumps_typed(wrapped)
    assert StoredMessages().loads_typed(written) == JsonPlusSerializer().loads_typed(written)


@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_long_thread_is_read_without_garbage_collections(is_enabled: bool) -> None:
    """Only what waited till then is looked at after; the collector is left as it was."""
    messages = [HumanMessage("Again.", id=str(number)) for number in range(2_000)]
    written = JsonPlusSerializer().dumps_typed(_DeltaSnapshot(messages))
    begun = list[str]()
    was_enabled = gc.isenabled()
    (gc.enable if is_enabled else gc.disable)()
    gc.callbacks.append(lambda phase, _: begun.append(phase))
    try:
        read = StoredMessages().loads_typed(written)
        assert gc.isenabled() is is_enabled
    finally:
        gc.callbacks.pop()
        (gc.enable if was_enabled else gc.disable)()
    assert begun.count("start") <= 1
    assert read == _DeltaSnapshot(messages)


@pytest.mark.parametrize("value", [Plan(steps=["one"]), {"plans": [Plan(steps=["two"])]}])
def test_types_of_others_come_back_as_themselves(value: Any) -> None:
    """What is no message is read as LangGraph reads it: a model is a model, and no dict."""
    written = JsonPlusSerializer().dumps_typed(value)
    assert StoredMessages().loads_typed(written) == value


def test_what_is_not_allowed_is_not_made() -> None:
    """An allowlist holds as it does for LangGraph's own; messages are always read."""
    written = JsonPlusSerializer().dumps_typed({"plan": Plan(steps=["one"]), "said": MESSAGES[0]})
    strict = StoredMessages(allowed_msgpack_modules=None).loads_typed(written)
    assert strict == JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed(written)
    assert strict["plan"] == {"steps": ["one"]}
