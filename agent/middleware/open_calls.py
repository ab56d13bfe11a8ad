"""Tool calls that have no result: endpoints refuse a conversation that holds one."""

from collections.abc import Iterable, Iterator, Sequence
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage

STOPPED_CALL = "Stopped before there was a result. It may or may not have taken effect."
OPEN_CALL = "There is no result: the person went on before this call was carried out."


def results_for_last_calls(messages: Sequence[AnyMessage]) -> list[ToolMessage]:
    """A result that says "stopped" for each call of the last model message that has none."""
    return _results(list(_open_calls_before_each([*messages, HumanMessage("")]))[-1], STOPPED_CALL)


def with_open_calls_closed(messages: Sequence[AnyMessage]) -> Iterator[AnyMessage]:
    """The messages, with a result for each call that was open when the next turn began."""
    for message, calls in zip(messages, _open_calls_before_each(messages), strict=True):
        if calls and not isinstance(message, ToolMessage):
            yield from _results(calls, OPEN_CALL)
        yield message


def _open_calls_before_each(messages: Iterable[AnyMessage]) -> Iterator[Sequence[ToolCall]]:
    calls: dict[str | None, ToolCall] = {}
    for message in messages:
        yield list(calls.values()) if calls else ()
        if isinstance(message, ToolMessage):
            calls.pop(message.tool_call_id, None)
        elif isinstance(message, AIMessage) and message.tool_calls:
            calls = {call["id"]: call for call in message.tool_calls}
        elif calls:
            calls = {}


def _results(calls: Iterable[ToolCall], text: str) -> list[ToolMessage]:
    return [
        ToolMessage(
            text, id=str(uuid4()), name=call["name"], tool_call_id=call["id"], status="error"
        )
        for call in calls
    ]
