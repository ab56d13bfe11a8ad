"""What a run has said and called so far, gathered from whichever stream modes it has."""

import json
from dataclasses import dataclass, field
from typing import Any

from client.events import JSON
from client.messages import text_of


@dataclass
class _Said:
    text: str = ""
    calls: list[JSON] = field(default_factory=list)


@dataclass
class Answer:
    """Messages of the model in the order they began; a complete one replaces its pieces."""

    _said: dict[str, _Said] = field(default_factory=dict)
    _writing: dict[str, dict[str, JSON]] = field(default_factory=dict)
    _before: set[str] | None = None

    @property
    def text(self) -> str:
        """The last message's text: the answer."""
        return next(reversed(self._said.values())).text if self._said else ""

    @property
    def tool_calls(self) -> list[JSON]:
        """Every complete tool call of the run, as `{"id", "name", "args"}`, in order."""
        return [call for said in self._said.values() for call in said.calls]

    def knows(self, message: JSON) -> bool:
        return str(message.get("id")) in self._said

    def add_text(self, message_id: str, text: str) -> None:
        self._said.setdefault(message_id, _Said()).text += text

    def add_call_text(self, message_id: str, call_id: str, tool: str, args_text: str) -> None:
        calls = self._writing.setdefault(message_id, {})
        call = calls.setdefault(call_id, {"id": call_id, "name": tool, "args_text": ""})
        call["args_text"] += args_text

    def finish_calls(self, message_id: str) -> list[JSON]:
        """The message's tool calls, now whole; one whose arguments are no JSON object is none."""
        said = self._said.setdefault(message_id, _Said())
        for call in self._writing.pop(message_id, {}).values():
            args = _object(call["args_text"])
            if args is not None:
                said.calls.append({"id": call["id"], "name": call["name"], "args": args})
        return said.calls

    def read_message(self, message: JSON) -> None:
        """Takes a complete message; only the model's count."""
        if message.get("type") not in ("ai", "AIMessageChunk"):
            return
        calls = [{k: c[k] for k in ("id", "name", "args")} for c in message.get("tool_calls") or ()]
        self._said[str(message.get("id"))] = _Said(text_of(message), calls)

    def read_delta(self, delta: Any) -> None:
        """Takes what a node changed."""
        for message in _messages(delta):
            self.read_message(message)

    def read_state(self, state: Any) -> None:
        """Takes a full state; what the first one holds was there before the run."""
        messages = _messages(state)
        if self._before is None:
            self._before = {str(message.get("id")) for message in messages}
        for message in messages:
            if str(message.get("id")) not in self._before:
                self.read_message(message)

    def read_event(self, event: JSON) -> None:
        """Takes a LangChain event: the pieces and ends of chat model calls."""
        data = event.get("data") or {}
        if event["event"] == "on_chat_model_stream":
            chunk = data["chunk"]
            if text := text_of(chunk):
                self.add_text(str(chunk.get("id")), text)
        elif event["event"] == "on_chat_model_end":
            self.read_message(data["output"])


def _messages(state: Any) -> list[JSON]:
    messages = state.get("messages") if isinstance(state, dict) else None
    if isinstance(messages, dict):
        messages = [messages]
    return [m for m in messages or () if isinstance(m, dict)]


def _object(text: str) -> JSON | None:
    try:
        parsed = json.loads(text or "{}", strict=False)  # models write raw newlines in strings
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
