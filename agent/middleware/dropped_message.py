"""Tells clients of other makers that a message which they show in part is dropped.

An agent's `retry` event says so to those who know it. LangGraph has none for it; what its clients
act on, as the JS SDK 1.15 does:
- on a stream of mode `messages-tuple`, a message of the type `remove` with that id;
- on a stream of the thread protocol (v3), the message's `error` event, without which who awaits its
  text waits for ever; then a `values` snapshot that has the message and one that has it no more:
  what no snapshot ever had, they keep.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

RETRY = "retry"

Part = Any  # of a stream with a list of modes: (mode, data), (namespace, mode, data), or a dict


class DroppedMessages:
    """Adds to a stream's parts what tells of dropped messages.

    `options` are those of `astream`, and are changed so that the agent's retries come by. What is
    dropped as a run is stopped is told nobody any more: `those_left` are the messages that stay.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        modes = options.get("stream_mode")
        self._modes: list[str] = modes if isinstance(modes, list) else []
        self._hides_custom = "messages" in self._modes and "custom" not in self._modes
        self._values: dict[str, Any] | None = None  # of the thread protocol, the last
        self._told = set[str | None]()
        if self._hides_custom:
            options["stream_mode"] = [*self._modes, "custom"]

    def parts(self, part: Part) -> Iterator[Part]:
        """The part, if it was asked for, and what it means for other makers' clients."""
        mode, data = _read(part) if self._modes else ("", None)
        dropped_id = _dropped_id(data) if mode == "custom" else ""
        if dropped_id:
            self._told.add(dropped_id)
        if mode != "custom" or not self._hides_custom or isinstance(part, dict):
            yield part  # the thread protocol has custom data for whoever subscribes to it
        if mode == "values" and isinstance(part, dict) and not part["ns"]:
            self._values = part
        if dropped_id and "messages" in self._modes:
            yield from self._removal(part, dropped_id, data)

    def those_left(self, messages: Iterable[BaseMessage]) -> list[BaseMessage]:
        """Without those of which the reader was told that they are dropped."""
        return [message for message in messages if message.id not in self._told]

    def _removal(self, part: Part, message_id: str, retry: Any) -> Iterator[Part]:
        if not isinstance(part, dict):
            # A type that ends so is a piece for the server, which in the mode `messages` adds up
            # all pieces of an id; to the clients it is `remove`: they take its end off.
            removal = {"type": "RemoveMessageChunk", "id": message_id, "content": ""}
            yield (*part[:-2], "messages", (removal, {"langgraph_node": "model"}))
            return
        failure = {"event": "error", "id": message_id, "message": str(retry.get("reason"))}
        yield {**part, "type": "messages", "data": (failure, {"langgraph_node": "model"})}
        if self._values is not None:
            values = self._values["data"]
            messages = [*(values.get("messages") or ()), AIMessage("", id=message_id)]
            yield {**self._values, "data": {**values, "messages": messages}}
            yield self._values


def _read(part: Part) -> tuple[str, Any]:
    if isinstance(part, dict):
        return part["type"], part["data"]
    mode, data = part[-2:]
    return mode, data


def _dropped_id(data: Any) -> str:
    """The id of the message that a `retry` event drops; empty in any other custom data."""
    is_retry = isinstance(data, Mapping) and data.get("type") == RETRY
    return str(data.get("message_id") or "") if is_retry else ""
