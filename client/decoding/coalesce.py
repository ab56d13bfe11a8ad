"""A slow reader gets bigger tokens, not a longer queue: what arrived together goes out together."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from ..events import AgentEvent, Reasoning, Token, ToolCallDelta

Place = TypeVar("Place")


def coalesced(events: Iterable[tuple[Place, AgentEvent]]) -> Iterator[tuple[Place, AgentEvent]]:
    """The events, with texts of one message that follow each other as one, at the last's place."""
    held: tuple[Place, AgentEvent] | None = None
    for place, event in events:
        grown = _grown(held[1], event) if held else None
        if held and grown is None:
            yield held
        held = place, grown or event
    if held:
        yield held


def _grown(first: AgentEvent, second: AgentEvent) -> AgentEvent | None:
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
