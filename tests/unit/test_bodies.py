"""What the chat routes take."""

import pytest
from pydantic import ValidationError

from agent.http.schemas import MessageBody


def test_modes_are_each_named_once() -> None:
    """A mode that is named twice is one mode; more names than there are modes are refused."""
    twice = MessageBody(message="Hello.", modes=["values", "messages", "values"])
    assert twice.modes == ["values", "messages"]
    with pytest.raises(ValidationError, match="modes"):
        MessageBody(message="Hello.", modes=["messages"] * 5)
