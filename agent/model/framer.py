"""The pure half of token frames: merges the text events of a model's stream, given the time.

An event is text if it carries nothing else: `content` or `reasoning_content` of one choice, more
arguments of one tool call, or a text, argument or reasoning delta of the Responses API. Texts in a
row whose events are equal but for the text become one event. Every other event keeps its place:
what opens a message or a call, ends or counts one, has log probabilities, or holds anything that
is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from agent.model.dialects.halves import dumps

DEFAULT_FRAME_SECONDS = 0.04
LONGEST_FRAME_SECONDS = 0.2
_PUNCTUAL_SECONDS = 0.005  # a frame that leaves this late is no sign of a busy event loop
_LATE_GAIN = 4  # slow down well before the delay itself is what a person notices

_JSON = dict[str, Any]
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
class _Run:
    """Texts in a row of one shape."""

    shape: TextShape
    per_event: _JSON
    texts: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        return self.shape.encode("".join(self.texts), self.per_event)


class Framer:
    """Turns events into frames, given the time; it has no clock of its own.

    Times are seconds of any one monotonic clock. What is added is either held, until `due`, or
    ready. With `frame_seconds` 0 nothing is held.
    """

    def __init__(self, frame_seconds: float = DEFAULT_FRAME_SECONDS) -> None:
        self._frame_seconds = frame_seconds
        self._longest_seconds = max(LONGEST_FRAME_SECONDS, frame_seconds)
        self._next = -math.inf
        self._held_since = 0.0
        self._held: list[_Run] = []
        self._held_bytes = 0
        self._ready = bytearray()

    @property
    def holds(self) -> bool:
        """Whether texts are held at all, to be merged."""
        return self._frame_seconds > 0

    @property
    def due(self) -> float | None:
        """When `take` will have something to give; None while there is nothing."""
        if self._ready:
            return -math.inf
        return self._next if self._held else None

    @property
    def pending_bytes(self) -> int:
        """How many bytes, about as they came, wait to be taken."""
        return self._held_bytes + len(self._ready)

    def add(self, event: _JSON, now: float) -> None:
        """Adds an event that is not only text, `now`."""
        self.add_bytes(encode(event), now)

    def add_bytes(self, data: bytes, now: float) -> None:
        """Adds what is written already."""
        self.release(now)
        self._ready += data

    def add_text(self, shape: TextShape, text: str, size: int, now: float) -> None:
        """Adds an event of text, which came in `size` bytes."""
        if not self._frame_seconds:
            self._ready += shape.encode(text, shape.per_event)
            return
        if not self._held:
            self._held_since = now
        run = self._held[-1] if self._held else None
        if run is None or not run.shape.matches(shape):
            run = _Run(shape, shape.per_event)
            self._held.append(run)
        run.texts.append(text)
        run.per_event = shape.per_event
        self._held_bytes += size

    def take(self, now: float) -> bytes:
        """Gives what is ready or due, or nothing."""
        if self._held and now >= self._next:
            self.release(now)
        data = bytes(self._ready)
        self._ready.clear()
        return data

    def release(self, now: float) -> None:
        """Makes everything ready."""
        if not self._held:
            return
        late_seconds = now - max(self._next, self._held_since) - _PUNCTUAL_SECONDS
        interval_seconds = self._frame_seconds + _LATE_GAIN * max(late_seconds, 0)
        self._next = now + min(interval_seconds, self._longest_seconds)
        for run in self._held:
            self._ready += run.encode()
        self._held.clear()
        self._held_bytes = 0


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
