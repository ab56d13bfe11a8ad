"""A run's events as chunks of a chat completion, and what a caller may ask for."""

from typing import Any

import pytest

from agent.http.protocols.approvals import Answer, answers_for, approval_requests
from agent.http.protocols.openai_chat import ApprovalNeeded, ChatChunks, Restarted
from agent.http.protocols.openai_requests import ChatRequest, NotTaken, ResponseRequest
from client import AgentEvent, Done, Interrupt, InvalidRequest, Retry, Token

DONE = Done("success", "run", 1, 2, "stop")


def token(text: str, message_id: str = "m1") -> Token:
    return Token(text, message_id, "model")


def sent(*events: AgentEvent) -> str:
    chunks = ChatChunks("chatcmpl-1", "agent", 1, has_usage=False)
    frames: list[Any] = [
        *chunks.begin(DONE),
        *(f for event in events for f in chunks.read(event)),
    ]
    return "".join(f.choices[0].delta.content or "" for f in frames if not isinstance(f, str))


@pytest.mark.parametrize("again", [("Hello",), ("Hel", "lo"), ("H", "ello, you"), ("Hello, you",)])
def test_an_answer_that_comes_anew_goes_on_where_it_broke_off(again: tuple[str, ...]) -> None:
    """What was sent before the model was tried again is not sent twice, in whatever pieces."""
    pieces = [token(text) for text in again]
    whole = "".join(again)
    assert sent(token("Hel"), Retry(2, "m1", "it broke"), *pieces, DONE) == whole


@pytest.mark.parametrize("again", ["Good day", "He", "Heaven"])
def test_another_answer_cannot_be_told(again: str) -> None:
    """An answer that does not begin with what was sent is an error, and never a mixture."""
    with pytest.raises(Restarted):
        sent(token("Hel"), Retry(2, "m1", "it broke"), token(again), DONE)


def test_a_whole_answer_has_nothing_of_what_was_discarded() -> None:
    """Before anything is sent, anything can be discarded."""
    chunks = ChatChunks("chatcmpl-1", "agent", 1, has_usage=False, is_whole=True)
    for event in (token("Hel"), Retry(2, "m1", "it broke"), token("Good day"), DONE):
        list(chunks.read(event))
    assert chunks.completion.choices[0].message.content == "Good day"


def test_a_question_to_a_person_is_an_error() -> None:
    """The protocol cannot ask: the caller is told which tool waits, and where to decide."""
    action = {"name": "save_note", "args": {}}
    waiting = Interrupt("a" * 32, {"action_requests": [action]})
    with pytest.raises(ApprovalNeeded, match="save_note"):
        sent(waiting, Done("interrupted", "run", 1, 2))


@pytest.mark.parametrize(
    "neutral",
    [
        {"n": 1, "tools": [], "tool_choice": "auto", "stop": None},
        {"top_p": 1.0, "presence_penalty": 0, "response_format": {"type": "text"}},
        {"user": None, "metadata": None, "store": False},
    ],
)
def test_what_asks_for_nothing_is_taken(neutral: dict[str, Any]) -> None:
    """Clients send null and the protocol's own defaults without being told to."""
    ChatRequest(model="agent", messages=[{"role": "user", "content": "x"}], **neutral)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x", "store": False, "background": True}, "store"),
        ({"input": "x", "previous_response_id": "a", "conversation": "b"}, "conversation"),
        ({"input": [{"type": "function_call_output", "call_id": "a", "output": "b"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "content"),
        ({"input": "x", "seed": 1}, "seed"),
    ],
)
def test_what_cannot_be_done_is_named(body: Any, param: str) -> None:
    """What does not fit together, or is not taken, is an error with the parameter's name."""
    with pytest.raises(NotTaken) as refused:
        ResponseRequest(model="agent", **body)
    assert refused.value.param == param


BATCH = Interrupt("a" * 32, {"action_requests": [{"name": "f", "args": {}}, {"name": "g"}]})
SINGLE = Interrupt("b" * 32, {"type": "tool_approval", "name": "h", "args": {"x": 1}})


def test_answers_become_decisions() -> None:
    """Each request has an id of its own, and its answer is the decision at its place."""
    ids = [approval_id for each in (BATCH, SINGLE) for approval_id, _ in approval_requests(each)]
    first, second, third = ids
    given = [Answer(second, False, "No."), Answer(first, True), Answer(third, True)]
    assert answers_for([BATCH, SINGLE], given) == {
        "a" * 32: {"decisions": [{"type": "approve"}, {"type": "reject", "message": "No."}]},
        "b" * 32: {"type": "approve"},
    }


def test_answers_that_do_not_fit_are_refused() -> None:
    """To what does not wait, or to one of two that are answered together."""
    first, _ = (approval_id for approval_id, _ in approval_requests(BATCH))
    for given in ([Answer(first, True)], [Answer("mcpr_x_0", True)]):
        with pytest.raises(InvalidRequest):
            answers_for([BATCH], given)
