"""The pure half of token frames: merges the text events of a model's stream.

An event is text if it carries nothing else: `content` or `reasoning_content` of one choice, more
arguments of one tool call, or a text, argument or reasoning delta of the Responses API. Texts in a
row whose events are equal but for the text become one event. Every other event keeps its place:
what opens a message or a call, ends or counts one, has log probabilities, or holds anything that
is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from agent.model.dialects.halves import dumps

_JSON = dict[str, Any]
DONE = b"data: [DONE]\n\n"  # the end of a stream
_BLANK: tuple[object, ...] = (None, "", [])
_ORIGIN_FIELDS = {"created", "model", "system_fingerprint", "service_tier", "provider"}
_CHAT_FIELDS = frozenset({"id", "object", "choices"} | _ORIGIN_FIELDS)
_RESPONSE_FIELDS = frozenset(
    {"type", "item_id", "output_index", "content_index", "summary_index", "delta"}
)
_RESPONSE_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
    }
)
_CHOICE_FIELDS = frozenset({"index", "delta"})
_CALL_FIELDS = frozenset({"index", "type", "function"})
_TEXTS = frozenset({"content", "reasoning_content", "reasoning"})
_PER_EVENT = ("sequence_number", "obfuscation")  # a number, and padding against eavesdroppers


@dataclass(slots=True)
class TextShape:
    """All of an event but its text, which belongs at `slot[key]`, a place inside `event`."""

    event: _JSON
    slot: _JSON
    key: str
    per_event: _JSON

    def matches(self, other: TextShape) -> bool:
        return self is other or self.event == other.event

    def encode(self, text: str, per_event: _JSON) -> bytes:
        """The event with a text, as it is written."""
        self.slot[self.key] = text
        data = encode({**self.event, **per_event})
        self.slot[self.key] = ""
        return data


def encode(event: _JSON) -> bytes:
    """An event as it is written in a stream."""
    return b"data: " + dumps(event) + b"\n\n"


def text_shape(event: _JSON) -> tuple[TextShape, str] | None:
    """The shape and the text of an event; None if it carries anything but text."""
    per_event = {key: event.pop(key) for key in _PER_EVENT if key in event}
    slot, key = _text_place(event)
    text = slot.get(key)
    if not isinstance(text, str) or not text:
        event |= per_event
        return None
    slot[key] = ""
    return TextShape(event, slot, key, per_event), text


@dataclass(slots=True)
class TextRun:
    """Texts in a row of one shape."""

    shape: TextShape
    per_event: _JSON
    texts: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """They as one event, as it is written."""
        return self.shape.encode("".join(self.texts), self.per_event)

    def event(self) -> Iterator[_JSON]:
        """They as one event, which is the reader's until the next step; without `per_event`."""
        shape = self.shape
        shape.slot[shape.key] = "".join(self.texts)
        yield shape.event
        shape.slot[shape.key] = ""


Part = bytes | TextRun  # one event


class Framer:
    """Merges what is added between two calls of `take`; with `merges` False, nothing."""

    def __init__(self, merges: bool = True) -> None:
        self.merges = merges
        self.has_text = False
        self._run: TextRun | None = None
        self._ready: list[Part] = []

    def add(self, event: _JSON) -> None:
        """Adds an event that is not only text."""
        self.add_bytes(encode(event))

    def add_bytes(self, data: bytes) -> None:
        """Adds an event that is written already."""
        self._end_run()
        self._ready.append(data)

    def add_text(self, shape: TextShape, text: str) -> None:
        """Adds an event of text."""
        self.has_text = True
        if not self.merges or self._run is None or not self._run.shape.matches(shape):
            self._end_run()
            self._run = TextRun(shape, shape.per_event)
        self._run.texts.append(text)
        self._run.per_event = shape.per_event

    def take(self) -> bytes:
        """Gives what was added since the last call, or nothing; `has_text` is about the next."""
        return written(self.take_parts())

    def take_parts(self) -> list[Part]:
        """As `take`, without writing it."""
        self._end_run()
        parts, self._ready = self._ready, []
        self.has_text = False
        return parts

    def _end_run(self) -> None:
        if self._run is not None:
            self._ready.append(self._run)
            self._run = None


def written(parts: Iterable[Part]) -> bytes:
    """The events as they are written in a stream."""
    return b"".join([part if isinstance(part, bytes) else part.encode() for part in parts])


def _text_place(event: _JSON) -> tuple[_JSON, str]:
    if str(event.get("type")) in _RESPONSE_DELTAS and _has_only(event, _RESPONSE_FIELDS):
        return event, "delta"
    choices = event.get("choices")
    if event.get("object") != "chat.completion.chunk" or not _has_only(event, _CHAT_FIELDS):
        return {}, ""
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return {}, ""
    delta = choices[0].get("delta")
    if not isinstance(delta, dict) or not _has_only(choices[0], _CHOICE_FIELDS):
        return {}, ""
    filled = [key for key, value in delta.items() if value not in _BLANK and key != "role"]
    if filled == ["tool_calls"]:
        return _arguments_place(delta["tool_calls"])
    return (delta, filled[0]) if len(filled) == 1 and filled[0] in _TEXTS else ({}, "")


def _arguments_place(calls: Any) -> tuple[_JSON, str]:
    if not isinstance(calls, list) or len(calls) != 1 or not isinstance(calls[0], dict):
        return {}, ""
    call = calls[0]
    function = call.get("function")
    if "index" not in call or not isinstance(function, dict) or not _has_only(call, _CALL_FIELDS):
        return {}, ""
    return (function, "arguments") if _has_only(function, {"arguments"}) else ({}, "")


def _has_only(fields: _JSON, known: AbstractSet[str]) -> bool:
    return all(fields[key] in _BLANK for key in fields.keys() - known)
