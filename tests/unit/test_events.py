"""The event vocabulary: DESIGN.md's table, in Python and as JSON."""

import dataclasses
import json
import re
import typing

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import events
from client.events import (
    AgentEvent,
    Done,
    Error,
    Event,
    Interrupt,
    Token,
    ToolResult,
    Values,
    from_json,
    to_json,
)

TABLE = {
    "run_started": "run_id, thread_id, attempt",
    "token": "content, message_id, node",
    "reasoning": "content, message_id, node",
    "tool_call_delta": "id, tool, args_text",
    "tool_call": "id, tool, args, node",
    "tool_result": "id, tool, status, content, media",
    "progress": "data",
    "update": "node, delta",
    "values": "state",
    "event": "name, run_name, data, tags, metadata",
    "debug": "data, namespace",
    "checkpoint": "data, namespace",
    "task": "data, namespace",
    "interrupt": "id, requests, response_schema",
    "structured_response": "value",
    "retry": "attempt, message_id, reason",
    "usage": "input_tokens, output_tokens",
    "error": "code, message, retryable",
    "done": "status, run_id, ttft_ms, duration_ms, finish_reason",
}
KINDS: dict[str, type] = {kind.__name__: kind for kind in typing.get_args(AgentEvent)}


def camel(name: str) -> str:
    return name.title().replace("_", "")


def test_the_union_is_the_table() -> None:
    """There is a dataclass for each row of the table, and no other event."""
    assert set(KINDS) == {camel(name) for name in TABLE}


@pytest.mark.parametrize("name", TABLE)
def test_each_event_has_its_rows_fields(name: str) -> None:
    """As JSON an event has `type` and its row's fields, in the table's order, and nothing else."""
    kind = KINDS[camel(name)]
    fields = [field.name for field in dataclasses.fields(kind)]
    made = to_json(kind(**dict.fromkeys(fields, None)))
    assert list(made) == ["type", *TABLE[name].split(", ")]
    assert made["type"] == name


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_events_are_frozen_and_small(kind: type) -> None:
    """An event cannot be changed, has no dictionary of its own, and says what it means."""
    made = kind(**dict.fromkeys((f.name for f in dataclasses.fields(kind)), None))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(kind)[0].name, 1)
    assert not hasattr(made, "__dict__")
    assert kind.__doc__
    assert not kind.__doc__.startswith(f"{kind.__name__}(")


def test_events_match_by_keyword() -> None:
    """`case Token(content=text)` gives the text, as the module's first lines promise."""
    match Token("Hi", "m", "model"):
        case Token(content=text):
            assert text == "Hi"


def test_json_keeps_what_events_hold() -> None:
    """Nested data passes unchanged, and every event can be written as JSON."""
    event = Event("on_tool_end", "calculate", {"output": {"a": [1, None]}}, ["t"], {"k": "v"})
    assert orjson.loads(orjson.dumps(to_json(event))) == {
        "type": "event",
        "name": "on_tool_end",
        "run_name": "calculate",
        "data": {"output": {"a": [1, None]}},
        "tags": ["t"],
        "metadata": {"k": "v"},
    }
    assert to_json(Interrupt("i", [{"ask": 1}]))["requests"] == [{"ask": 1}]
    assert to_json(Error("timeout", "x", True))["retryable"] is True


def test_statuses_are_those_of_the_table() -> None:
    """`done` and `tool_result` say one of the few words that the table lists."""
    assert set(typing.get_args(events.Status)) == {
        "success",
        "interrupted",
        "stopped",
        "timeout",
        "error",
    }
    hints = typing.get_type_hints(ToolResult)
    assert set(typing.get_args(hints["status"])) == {"ok", "error"}
    assert typing.get_type_hints(Done)["status"] == events.Status


def test_the_modes_are_these() -> None:
    """The four of the design, and LangGraph's others."""
    assert typing.get_args(events.Mode) == (
        *("values", "updates", "messages", "events"),
        *("custom", "debug", "checkpoints", "tasks"),
    )


def test_type_names_are_snake_case() -> None:
    """No `type` needs quoting or escaping anywhere."""
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in TABLE)


def test_an_event_is_not_copied_to_become_json() -> None:
    """A state of many messages costs no more than a token: what it holds is handed on as it is."""
    state = {"messages": [{"content": [{"text": "x"}]} for _ in range(800)]}
    assert to_json(Values(state))["state"] is state


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)


def field_values(hint: object) -> st.SearchStrategy[object]:
    if hint is typing.Any:
        return VALUES
    if hint == events.JSON:
        return OBJECTS
    if hint == list[events.JSON]:
        return st.lists(OBJECTS, max_size=2)
    if hint == events.JSON | None:
        return st.none() | OBJECTS
    return TEXTS if hint is str else st.from_type(hint)


@st.composite
def any_event(draw: st.DrawFn) -> AgentEvent:
    """An event of any kind, each field of its own type."""
    kind = draw(st.sampled_from(list(KINDS.values())))
    hints = typing.get_type_hints(kind)
    event: AgentEvent = kind(**{name: draw(field_values(hint)) for name, hint in hints.items()})
    return event


@given(any_event())
def test_an_event_survives_its_wire(event: AgentEvent) -> None:
    """Written as JSON text and read again, it is the same event."""
    assert from_json(json.loads(json.dumps(to_json(event)))) == event


@given(any_event(), st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3))
def test_what_a_newer_server_adds_does_no_harm(event: AgentEvent, more: dict[str, object]) -> None:
    """Fields that an event does not have are left out, and an unknown type is no event."""
    data = to_json(event)
    assert from_json({**more, **data}) == event
    assert from_json({**data, "type": "an_event_of_tomorrow"}) is None


@pytest.mark.parametrize("data", [None, [], "token", 1, {}, {"type": None}, {"type": 5, "data": 1}])
def test_what_is_no_event_is_refused(data: typing.Any) -> None:
    """Another form than an object with a type has a clear error."""
    with pytest.raises(ValueError, match="This is no event"):
        from_json(data)


@given(any_event(), st.data())
def test_an_event_that_is_not_whole_is_refused(event: AgentEvent, data: st.DataObject) -> None:
    """A missing field is named, unless it has a default."""
    whole = to_json(event)
    left_out = data.draw(st.sampled_from(dataclasses.fields(event)))
    del whole[left_out.name]
    if (left_out.default, left_out.default_factory) == (dataclasses.MISSING, dataclasses.MISSING):
        with pytest.raises(ValueError, match=left_out.name):
            from_json(whole)
    else:
        assert isinstance(from_json(whole), type(event))
