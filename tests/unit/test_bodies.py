"""What the chat routes take, and how they write an event."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.http.runs import encoded
from agent.http.schemas import MessageBody


def test_modes_are_each_named_once() -> None:
    """A mode that is named twice is one mode; more names than there are modes are refused."""
    twice = MessageBody(message="Hello.", modes=["values", "messages", "values"])
    assert twice.modes == ["values", "messages"]
    with pytest.raises(ValidationError, match="modes"):
        MessageBody(message="Hello.", modes=["messages"] * 9)


ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(ENDS)))
def test_an_event_is_one_line_however_lines_are_split(text: str) -> None:
    """Programs that split lines by Unicode's rules, as Python does, read the event whole."""
    written = encoded({"content": text})
    assert written.splitlines() == [written]
    assert json.loads(written) == {"content": text}
