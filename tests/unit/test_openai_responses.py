"""A run's events as OpenAI's Responses: numbers that no reader's framing changes."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response
from pydantic import BaseModel

from agent.http.protocols.openai_responses import ResponseEvents
from client import (
    AgentEvent,
    Done,
    Interrupt,
    ModelFailed,
    Reasoning,
    Retry,
    RunStarted,
    StreamLost,
    Token,
    ToolCall,
    ToolResult,
    Usage,
)

ASKS = "save_note"
STARTED = RunStarted("run", "thread", 1)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@st.composite
def messages(draw: st.DrawFn, number: int = 0) -> list[AgentEvent]:
    """One message of the model: reasoning, text and calls, with their results."""
    at, events = f"m{draw(st.integers(0, 99))}", list[AgentEvent]()
    if draw(st.booleans()):
        events.append(Reasoning(draw(texts), at, "model"))
    if draw(st.booleans()):
        events.append(Token(draw(texts), at, "model"))
    if draw(st.integers(0, 4)) == 0:
        events.append(Retry(2, at, "it broke off"))
        events.append(Token(draw(texts), at, "model"))
    events.append(Usage(3, 4))
    calls = [f"{at}-{n}" for n in range(draw(st.integers(0, 2)))]
    tools = [draw(st.sampled_from(["calculate", ASKS])) for _ in calls]
    events += [
        ToolCall(call, tool, {"text": draw(texts)}, "model")
        for call, tool in zip(calls, tools, strict=True)
    ]
    events += [
        ToolResult(call, tool, draw(st.sampled_from(["ok", "error"])), draw(texts))
        for call, tool in zip(calls, tools, strict=True)
    ]
    return events


@st.composite
def runs(draw: st.DrawFn) -> list[AgentEvent]:
    """A run, from its start to its end."""
    events: list[AgentEvent] = [STARTED]
    for made in draw(st.lists(messages(), max_size=3)):
        events += made
    status = draw(st.sampled_from(["success", "stopped", "interrupted"]))
    if status == "interrupted":
        action = {"name": ASKS, "args": {"text": draw(texts)}}
        events.append(Interrupt("0" * 32, {"action_requests": [action] * draw(st.integers(1, 2))}))
    reason = draw(st.sampled_from(["stop", "length", "content_filter", None]))
    return [*events, Done(status, "run", 1, 2, reason)]


def framed(run: Iterable[AgentEvent], data: st.DataObject) -> Iterator[AgentEvent]:
    """The same run in other pieces: each text is cut anywhere."""
    for event in run:
        if not isinstance(event, Token | Reasoning):
            yield event
            continue
        size = len(event.content)
        cuts = sorted(data.draw(st.sets(st.integers(1, size), max_size=4)) | {0, size})
        for start, end in pairwise(cuts):
            yield replace(event, content=event.content[start:end])


def translated(run: Iterable[AgentEvent], after: int = -1) -> tuple[list[BaseModel], Response]:
    """What a reader gets who has read the events up to `after`, and the whole response."""
    events = ResponseEvents("resp_1", "agent", 1, "conv_1", after=after, waits={ASKS})
    frames = [*events.begin(STARTED)]
    for event in run:
        frames += events.read(event)
    return frames, events.response


def by_number(frames: Iterable[Any]) -> list[tuple[int, Any]]:
    """Each number with what it stands for: an event, or one character of a text."""
    told = list[tuple[int, Any]]()
    for frame in frames:
        fields = frame.model_dump()
        number, text = fields.pop("sequence_number"), fields.get("delta", "")
        if fields["type"] == "response.mcp_call_arguments.delta" or not text:
            told.append((number, fields))
            continue
        del fields["delta"]
        first = number - len(text) + 1
        told += [(first + at, (fields, letter)) for at, letter in enumerate(text)]
    return told


@pytest.mark.parametrize(
    ("first", "after", "event"),
    [(1 << 24, 7, STARTED), (0, 7, Token("x", "m1", "model")), (0, -1, Done("stopped", "r", 0, 0))],
    ids=["another stream's number", "the stream is gone", "and all of it is asked for"],
)
def test_what_is_gone_is_not_resumed(first: int, after: int, event: AgentEvent) -> None:
    """A number of a stream that the server no longer has is an error, never another text."""
    events = ResponseEvents("resp_1", "agent", 1, "conv_1", first=first, after=after)
    with pytest.raises(StreamLost):
        list(events.begin(event))


@given(runs(), st.data())
def test_numbers_do_not_depend_on_framing(run: list[AgentEvent], data: st.DataObject) -> None:
    """Two readers who get a run in different pieces have the same under each number."""
    one, response = translated(framed(run, data))
    other, same = translated(framed(run, data))
    assert by_number(one) == by_number(other)
    assert [number for number, _ in by_number(one)] == list(range(len(by_number(one))))
    assert response == same


@given(runs(), st.data())
def test_a_resume_at_any_number_brings_the_rest(run: list[AgentEvent], data: st.DataObject) -> None:
    """Whoever asks for what follows a number, any number, gets just that, in whatever pieces."""
    whole = by_number(translated(run)[0])
    after = data.draw(st.integers(-1, len(whole)))
    rest, response = translated(framed(run, data), after)
    assert by_number(rest) == [each for each in whole if each[0] > after]
    assert response == translated(run)[1]


@given(runs(), st.data())
def test_deltas_are_the_texts_of_the_response(run: list[AgentEvent], data: st.DataObject) -> None:
    """The deltas of each completed item, joined, are its text in the whole response."""
    frames, response = translated(framed(run, data))
    joined = dict[str, str]()
    for frame in frames:
        if frame.type in ("response.output_text.delta", "response.reasoning_summary_text.delta"):  # type: ignore[attr-defined]
            joined[frame.item_id] = joined.get(frame.item_id, "") + frame.delta  # type: ignore[attr-defined]
    for item in response.output:
        if item.type == "message":
            assert joined[item.id] == "".join(part.text for part in item.content)  # type: ignore[union-attr]
        elif item.type == "reasoning":
            assert joined[item.id] == "".join(part.text for part in item.summary)


def ended(*events: AgentEvent, status: Any = "success", reason: str | None = "stop") -> Response:
    return translated([STARTED, *events, Done(status, "run", 1, 2, reason)])[1]


HELLO = Token("Hello", "m1", "model")


def test_an_answer_that_is_not_whole_is_incomplete() -> None:
    """A stopped answer and one that was cut at its limit keep their text, and say so."""
    stopped = ended(HELLO, status="stopped")
    cut = ended(HELLO, reason="length")
    assert (stopped.status, stopped.output_text, stopped.incomplete_details) == (
        "incomplete",
        "Hello",
        None,
    )
    assert (cut.status, cut.output_text) == ("incomplete", "Hello")
    assert cut.incomplete_details
    assert cut.incomplete_details.reason == "max_output_tokens"


def test_what_is_written_anew_is_another_item() -> None:
    """Where the model is tried again its partial text is no part of the response."""
    again = [HELLO, Retry(2, "m1", "it broke off"), Token("Good day", "m1", "model")]
    response = ended(*again)
    assert response.output_text == "Good day"
    assert len({item.id for item in response.output}) == 1


def test_a_call_that_waits_is_an_approval_request() -> None:
    """It is no call before a person has approved it; then it is one, with its arguments."""
    call = ToolCall("c1", ASKS, {"title": "Tea"}, "model")
    action = {"name": ASKS, "args": {"title": "Tea"}}
    waiting = Interrupt("a" * 32, {"action_requests": [action]})
    asked = ended(call, waiting, status="interrupted")
    assert asked.status == "completed"
    assert [item.type for item in asked.output] == ["mcp_approval_request"]
    assert asked.output[0].id == f"mcpr_{'a' * 32}_0"


def test_a_failed_run_and_a_broken_stream_are_told_apart() -> None:
    """A run that failed is a failed response; after a broken stream its number still holds."""
    events = ResponseEvents("resp_1", "agent", 1, "conv_1")
    frames = [*events.begin(STARTED), *events.read(HELLO)]
    [lost] = events.fail(StreamLost("It broke."), is_final=False)
    assert lost.sequence_number == frames[-1].sequence_number  # type: ignore[attr-defined]
    assert not events.has_ended
    failed = list(events.fail(ModelFailed("The model failed."), is_final=True))[-1]
    assert failed.type == "response.failed"  # type: ignore[attr-defined]
    assert events.response.error
    assert events.response.output_text == "Hello"
