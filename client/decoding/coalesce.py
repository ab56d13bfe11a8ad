"""A slow reader gets bigger tokens, not a longer queue: what arrived together is one event."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from ..events import AgentEvent, Reasoning, Token, ToolCallDelta

At = TypeVar("At")


def coalesced(events: Iterable[tuple[At, AgentEvent]]) -> Iterator[tuple[At, AgentEvent]]:
    """The events; texts of one message that follow each other are one, with the last's cursor."""
    held: tuple[At, AgentEvent] | None = None
    for cursor, event in events:
        joined = _joined(held[1], event) if held else None
        if held and joined is None:
            yield held
        held = cursor, joined or event
    if held:
        yield held


def _joined(first: AgentEvent, second: AgentEvent) -> AgentEvent | None:
    match first, second:
        case Token(text, at, node), Token(more, at_too, node_too):
            if (at, node) == (at_too, node_too):
                return replace(first, content=text + more)
        case Reasoning(text, at, node), Reasoning(more, at_too, node_too):
            if (at, node) == (at_too, node_too):
                return replace(first, content=text + more)
        case ToolCallDelta(at, tool, text), ToolCallDelta(at_too, _, more):
            if at == at_too:
                return ToolCallDelta(at, tool, text + more)
    return None
