"""The pure half of token frames: merges the text events of a model's stream, given the time.

An event is text if it carries nothing else: `content`, `reasoning_content` or `reasoning` of one
choice, more arguments of one tool call, or a text, argument or reasoning delta of the Responses
API. Texts in a row whose events are equal but for the text become one event. Every other event
stays as it came, byte for byte and in order: what opens a message or a call, ends or counts one,
refuses, fails, has log probabilities, or holds anything that is not known here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import orjson

DEFAULT_FRAME_SECONDS = 0.04
LONGEST_FRAME_SECONDS = 0.2
LONGEST_EVENT_BYTES = 1024 * 1024
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
_BLANK_LINE = re.compile(rb"((?:\r\n|\r(?!\n)|\n){2})")


@dataclass(slots=True)
class _Shape:
    """All of an event but its text, which belongs at `slot[key]`, a place inside `event`.

    `before` and `after` are the bytes around the text's JSON literal, where they are known.
    """

    event: _JSON
    slot: _JSON
    key: str
    name: bytes
    per_event: _JSON
    before: bytes = b""
    after: bytes = b""

    def matches(self, other: _Shape) -> bool:
        return self.event == other.event and self.name == other.name

    def learn(self, block: bytes, text: str) -> bool:
        """Finds `before` and `after` in the bytes of an event of this shape, if it can."""
        before, found, after = block.rpartition(orjson.dumps(text))
        proof = _parse(before + rb'"\u0000"' + after) if found else None
        if proof is None or proof[1] != "\0" or not self.matches(proof[0]):
            return False
        self.before, self.after = before, after
        return True


@dataclass(slots=True)
class _Run:
    """Texts in a row of one shape; `first` is the event of the first of them as it came."""

    shape: _Shape
    first: bytes
    per_event: _JSON
    texts: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        if len(self.texts) == 1:
            return self.first
        shape = self.shape
        shape.slot[shape.key] = "".join(self.texts)
        data = orjson.dumps({**shape.event, **self.per_event})
        shape.slot[shape.key] = ""
        return shape.name + b"data: " + data + b"\n\n"


class Framer:
    """Turns the bytes of an event stream into frames, given the time; it has no clock of its own.

    Times are seconds of any one monotonic clock. What is fed is either held, until `due`, or ready.
    """

    def __init__(self, frame_seconds: float = DEFAULT_FRAME_SECONDS) -> None:
        self._frame_seconds = frame_seconds
        self._longest_seconds = max(LONGEST_FRAME_SECONDS, frame_seconds)
        self._next = -math.inf
        self._held_since = 0.0
        self._held: list[_Run] = []
        self._held_bytes = 0
        self._ready = bytearray()
        self._rest = b""
        self._known: _Shape | None = None
        self._is_raw = False

    @property
    def due(self) -> float | None:
        """When `take` will have something to give; None while there is nothing."""
        if self._ready:
            return -math.inf
        return self._next if self._held else None

    @property
    def pending_bytes(self) -> int:
        """How many bytes, as they came, wait to be taken."""
        return self._held_bytes + len(self._ready)

    def feed(self, data: bytes, now: float) -> None:
        """Adds bytes that arrived `now`."""
        if self._is_raw:
            self._ready += data
            return
        unseen = max(len(self._rest) - 3, 0)  # no blank line ends before it
        buffer = self._rest + data
        events: Iterable[tuple[bytes, bytes]]
        if not _has_blank_line(buffer, unseen):
            events, self._rest = (), buffer
        elif b"\r" in buffer:
            parts = _BLANK_LINE.split(buffer)
            events, self._rest = zip(parts[::2], parts[1::2], strict=False), parts[-1]
        else:
            *blocks, self._rest = buffer.split(b"\n\n")
            events = zip(blocks, repeat(b"\n\n"), strict=False)
        for block, end in events:
            self._add(block, end, now)
        if len(self._rest) > LONGEST_EVENT_BYTES:
            self._is_raw = True
            self.end(now)

    def end(self, now: float) -> None:
        """Makes everything ready, an unfinished event too: no more will be fed."""
        self._release(now)
        self._ready += self._rest
        self._rest = b""

    def take(self, now: float) -> bytes:
        """Gives what is ready or due, or nothing."""
        if self._held and now >= self._next:
            self._release(now)
        data = bytes(self._ready)
        self._ready.clear()
        return data

    def _release(self, now: float) -> None:
        if not self._held:
            return
        late_seconds = now - max(self._next, self._held_since) - _PUNCTUAL_SECONDS
        interval_seconds = self._frame_seconds + _LATE_GAIN * max(late_seconds, 0)
        self._next = now + min(interval_seconds, self._longest_seconds)
        for run in self._held:
            self._ready += run.encode()
        self._held.clear()
        self._held_bytes = 0

    def _add(self, block: bytes, end: bytes, now: float) -> None:
        shape = self._known
        if shape is not None and block.startswith(shape.before) and block.endswith(shape.after):
            text = _loads(block[len(shape.before) : len(block) - len(shape.after)])
            if text and isinstance(text, str):
                return self._hold(shape, text, block, end, now)
        parsed = _parse(block)
        if parsed is not None:
            return self._hold(*parsed, block, end, now)
        self._release(now)
        self._ready += block + end

    def _hold(self, shape: _Shape, text: str, block: bytes, end: bytes, now: float) -> None:
        if not self._held:
            self._held_since = now
        run = self._held[-1] if self._held else None
        if run is None or not (run.shape is shape or run.shape.matches(shape)):
            if shape is not self._known and shape.learn(block, text):
                self._known = shape
            run = _Run(shape, block + end, shape.per_event)
            self._held.append(run)
        run.texts.append(text)
        run.per_event = shape.per_event
        self._held_bytes += len(block) + len(end)


def _has_blank_line(buffer: bytes, start: int) -> bool:
    """The pattern looks at each byte in turn, which would cost more than all the rest."""
    if buffer.find(b"\n\n", start) >= 0:
        return True
    return buffer.find(b"\r", start) >= 0 and _BLANK_LINE.search(buffer, start) is not None


def _parse(block: bytes) -> tuple[_Shape, str] | None:
    """The shape and text of an event; None if it carries anything but text."""
    lines = block.strip(b"\r\n").splitlines()
    name = lines[0] + b"\n" if len(lines) == 2 and lines[0].startswith(b"event:") else b""
    if len(lines) != (2 if name else 1) or not lines[-1].startswith(b"data:"):
        return None
    event = _loads(lines[-1][5:])
    if not isinstance(event, dict):
        return None
    if name and name[6:].strip() != str(event.get("type")).encode():
        return None
    per_event = {key: event.pop(key) for key in _PER_EVENT if key in event}
    slot, key = _text_place(event)
    text = slot.get(key)
    if not isinstance(text, str) or not text:
        return None
    slot[key] = ""
    return _Shape(event, slot, key, name, per_event), text


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


def _loads(literal: bytes) -> Any:
    try:
        return orjson.loads(literal)
    except orjson.JSONDecodeError:
        return None
