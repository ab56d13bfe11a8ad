"""A run's events, read from what its thread keeps."""

from typing import Any

import pytest

from client import Done, Error, Interrupt, Reasoning, RunStarted, Token, ToolCall, ToolResult, Usage
from client.delivery.saved import saved_events

HUMAN = {"type": "human", "id": "h1", "content": "Six times seven?"}
CALL = {"name": "calculate", "args": {"expression": "6*7"}, "id": "c1", "type": "tool_call"}
ASKS = {
    "type": "ai",
    "id": "a1",
    "content": "Let me see.",
    "additional_kwargs": {"reasoning_content": "Six"},
    "response_metadata": {"finish_reason": "tool_calls"},
    "tool_calls": [CALL],
    "usage_metadata": {"input_tokens": 3, "output_tokens": 4},
}
RESULT = {
    "type": "tool",
    "id": "t1",
    "name": "calculate",
    "tool_call_id": "c1",
    "content": "42",
    "status": "success",
}
ANSWERS = {
    "type": "ai",
    "id": "a2",
    "content": "42.",
    "response_metadata": {"finish_reason": "stop"},
}


def events(*messages: Any, before: Any = (), **state: Any) -> list[Any]:
    values = {"values": {"messages": [*before, *messages]}, "metadata": {"run_id": "run"}}
    return saved_events("thread", "run", {**values, **state}, before)


def test_each_message_is_told_whole() -> None:
    """Reasoning, text, calls, results and counts are in the order of the messages."""
    assert events(HUMAN, ASKS, RESULT, ANSWERS) == [
        RunStarted("run", "thread", 1),
        Reasoning("Six", "a1", "model"),
        Usage(3, 4),
        Token("Let me see.", "a1", "model"),
        ToolCall("c1", "calculate", {"expression": "6*7"}, "model"),
        ToolResult("c1", "calculate", "ok", "42"),
        Token("42.", "a2", "model"),
        Done("success", "run", None, 0, "stop"),
    ]


def test_what_was_there_before_is_no_part_of_it() -> None:
    """A run that goes on after an approval has only what it added."""
    told = events(RESULT, ANSWERS, before=[HUMAN, ASKS])
    assert [type(event) for event in told] == [RunStarted, ToolResult, Token, Done]


def test_a_stopped_answer_is_stopped() -> None:
    """Its text is there, and its status is not that of an answer that ended."""
    partial = {**ANSWERS, "response_metadata": {"finish_reason": "stopped"}}
    assert events(HUMAN, partial)[-1].status == "stopped"


def test_what_waits_is_asked() -> None:
    """A run that waits for a person's decision ends with its request."""
    waiting = {"id": "i1", "value": {"action_requests": [{"name": "calculate", "args": {}}]}}
    told = events(HUMAN, ASKS, next=["Approval.after_model"], interrupts=[waiting])
    assert [type(event) for event in told[-2:]] == [Interrupt, Done]
    assert told[-1].status == "interrupted"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"next": ["model"], "tasks": []}, "run_lost"),
        ({"next": ["model"], "tasks": [{"error": "ModelError('It broke.')"}]}, "model_failed"),
    ],
)
def test_a_failure_is_told(state: Any, code: str) -> None:
    """The model's, and the death of the server in the middle; what was said before is there."""
    told = events(HUMAN, ASKS, RESULT, **state)
    assert isinstance(told[-2], Error)
    assert told[-2].code == code
    assert told[-1].status == "error"
    assert Token("Let me see.", "a1", "model") in told
