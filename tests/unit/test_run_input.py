"""What a graph is given, from what people write."""

from typing import Any

import pytest

from client.errors import InvalidRequest
from client.run_input import described, run_input, unknown_keys
from client.run_options import options_in_body

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "messages": {}}}


@pytest.mark.parametrize(
    "given",
    [
        "Hello.",
        [{"type": "text", "text": "Hello."}],
        [{"role": "user", "content": "Hello."}],
        {"messages": [{"role": "user", "content": "Hello."}], "city": "Oslo"},
    ],
)
def test_the_last_message_has_an_id(given: Any) -> None:
    """It tells the run's own messages from those before them; what else was given stays."""
    values, message_id = run_input(given)
    assert message_id
    assert values["messages"][-1]["id"] == message_id
    assert values["messages"][-1]["role"] == "user"
    assert values.get("city") == (given["city"] if isinstance(given, dict) else None)


def test_what_was_given_is_not_changed() -> None:
    """The caller's own objects are as they were."""
    given = {"messages": [{"role": "user", "content": "Hello."}]}
    run_input(given)
    assert given == {"messages": [{"role": "user", "content": "Hello."}]}


@pytest.mark.parametrize("given", [None, {}, {"city": "Oslo"}, {"messages": "Hello."}])
def test_a_state_is_passed_on(given: Any) -> None:
    """Values that hold no list of messages are handed on as they are."""
    assert run_input(given) == (given, None)


def test_history_comes_before_a_message() -> None:
    """Earlier messages stand before it, and have no place in a state."""
    before = {"role": "user", "content": "First."}
    values, _ = run_input("Second.", [before])
    assert [message["content"] for message in values["messages"]] == ["First.", "Second."]
    with pytest.raises(InvalidRequest, match="history"):
        run_input({"city": "Oslo"}, [before])


def test_unknown_keys_are_those_that_the_schema_does_not_have() -> None:
    """A schema that allows more, or that there is none of, knows all keys."""
    assert unknown_keys({"city": 1, "town": 2}, SCHEMA) == {"town"}
    assert unknown_keys({"town": 2}, {**SCHEMA, "additionalProperties": True}) == set()
    assert unknown_keys({"town": 2}, None) == set()
    assert unknown_keys(5, SCHEMA) == set()
    assert described(SCHEMA) == "city (string), messages"


def test_options_that_are_not_given_are_not_sent() -> None:
    """The server's own defaults hold; what is given goes by the platform's names."""
    assert options_in_body({}, ["values"]).keys() == {
        *("assistant_id", "stream_mode", "stream_subgraphs", "stream_resumable", "on_disconnect")
    }
    body = options_in_body({"interrupt_before": "*", "interrupt_after": ["a"]}, ["messages"])
    assert (body["interrupt_before"], body["interrupt_after"]) == ("*", ["a"])
