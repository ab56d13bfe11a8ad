"""Whatever a model sends, however it is cut and timed, frames say the same as the stream did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.framer import Framer

JSON = dict[str, Any]
FRAME_SECONDS = 0.04


@dataclass(frozen=True)
class Sent:
    """An event's lines, its line ending, and the text that may be merged: None if none may."""

    lines: tuple[bytes, ...]
    text: str | None = None
    ending: bytes = b"\n"

    @property
    def wire(self) -> bytes:
        return self.ending.join((*self.lines, b"", b""))


def blanked(value: Any) -> Any:
    """An event without the text that may differ within a frame."""
    if isinstance(value, list):
        return [blanked(item) for item in value]
    if not isinstance(value, dict):
        return value
    texts = ("content", "reasoning", "reasoning_content", "arguments", "delta")
    return {
        key: "" if key in texts and isinstance(item, str) else blanked(item)
        for key, item in value.items()
        if key not in ("sequence_number", "obfuscation")
    }


def text_of(event: JSON) -> str:
    """The text of an event that carries nothing else."""
    if "choices" not in event:
        return str(event["delta"])
    delta = event["choices"][0]["delta"]
    if delta.get("tool_calls"):
        return str(delta["tool_calls"][0]["function"]["arguments"])
    texts = [delta.get(key) or "" for key in ("content", "reasoning", "reasoning_content")]
    return "".join(texts)


words = st.text(max_size=5) | st.sampled_from(['"', "\\", "\n", "\0", "usage", "m", " ü", "🎉🎉"])
some = words.filter(bool)
nulls = st.dictionaries(st.sampled_from(["refusal", "role", "audio", "function_call"]), st.none())


def chunk(delta: Any, **fields: Any) -> JSON:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    choice |= {key: fields.pop(key) for key in list(fields) if key in choice}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**base, "choices": [choice], "usage": None, **fields}


def arguments(index: int, text: str) -> JSON:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def response_delta(part: str, text: str, number: int) -> JSON:
    place = {"item_id": "i", "output_index": 0, "delta": text, "sequence_number": number}
    return {"type": f"response.{part}.delta", **place, "obfuscation": "x" * (number % 7)}


index = st.integers(0, 2)
reasoning_key = st.sampled_from(["reasoning", "reasoning_content"])
part = st.sampled_from(["output_text", "function_call_arguments", "reasoning_summary_text"])
origin = st.sampled_from(["fp", "fq"])  # a text that also stands elsewhere in its event
merged = st.one_of(
    st.builds(lambda text, more: chunk({"content": text, **more}), some, nulls),
    st.builds(lambda text: chunk({"content": text}), some),
    st.builds(lambda text: chunk({"role": "assistant", "content": text}), some),
    st.builds(lambda text, at: chunk({"content": text}, index=at), some, index),
    st.builds(lambda text, model: chunk({"content": text}, model=model), some, st.just("n")),
    st.builds(lambda text, of: chunk({"content": text}, system_fingerprint=of), origin, origin),
    st.builds(lambda text, pad: chunk({"content": text}, obfuscation=pad), some, some),
    st.builds(lambda key, text: chunk({key: text, "content": None}), reasoning_key, some),
    st.builds(lambda at, text: chunk(arguments(at, text)), index, some),
    st.builds(response_delta, part, some, st.integers(0, 99)),
)
passed = st.one_of(
    st.sampled_from([chunk({"role": "assistant", "content": ""}), chunk({"content": ""})]),
    st.sampled_from([chunk(arguments(1, "")), response_delta("output_text", "", 5)]),
    st.builds(lambda text: chunk({"refusal": text}), some),
    st.builds(lambda text: chunk({"content": text}, finish_reason="stop"), words),
    st.builds(lambda text: chunk({"content": text}, usage={"total_tokens": 1}), words),
    st.builds(lambda text: chunk({"content": text}, logprobs={"content": [{}]}), words),
    st.builds(lambda text, new: chunk({"content": text}, citations=new), words, st.just(["x"])),
    st.builds(lambda text, new: chunk({"content": text, "annotations": new}), words, st.just([1])),
    st.builds(lambda text, same: chunk({"content": text, "reasoning": same}), some, some),
    st.builds(lambda text: {**chunk({}), "choices": chunk({"content": text})["choices"] * 2}, some),
    st.builds(
        lambda at, name: chunk({"tool_calls": [{"index": at, "id": "x", "function": name}]}),
        index,
        st.sampled_from([{"name": "f", "arguments": ""}, {"arguments": "{"}]),
    ),
    st.builds(lambda text: {**response_delta("output_text", text, 1), "logprobs": [{}]}, some),
    st.builds(lambda text: {**response_delta("refusal", text, 1)}, some),
    st.sampled_from([{}, {"error": {"message": "no"}}, chunk(None), chunk("x"), chunk([])]),
    st.sampled_from([{"object": "chat.completion.chunk", "choices": c} for c in (None, [], [1])]),
    st.sampled_from(["x", [1], [{"index": 0}], [{}]]).map(
        lambda calls: chunk({"tool_calls": calls})
    ),
)
junk_lines = st.one_of(
    st.sampled_from([b": keep-alive", b"id: 7", b"event: ping", b"retry: 5", b"x", b"data"]),
    st.sampled_from([b"data: [DONE]", b"data:", b"data: {", b'data: "x"', b"data: \xff"]),
    st.sampled_from([b'data: {"choices": 1}', b"\xef\xbb\xbfdata: 1"]),
)
junk = st.lists(junk_lines, min_size=1, max_size=3).map(tuple)


@st.composite
def events(draw: st.DrawFn, may_merge: bool) -> Sent:
    event = draw(merged if may_merge else passed)
    spaced = draw(st.booleans())
    data = json.dumps(
        event, ensure_ascii=draw(st.booleans()), separators=None if spaced else (",", ":")
    )
    line = draw(st.sampled_from([b"data: ", b"data:"])) + data.encode()
    text = text_of(event) if may_merge else None
    if "type" in event and draw(st.booleans()):
        return Sent((f"event: {event['type']}".encode(), line), text)
    if draw(st.integers(0, 9)) == 0:
        return Sent(draw(st.sampled_from([(b"event: other", line), (line, line)])))
    return Sent((line,), text)


endings = st.sampled_from([b"\n", b"\r\n", b"\r"])
any_event = st.one_of(events(True), events(True), events(False), junk.map(Sent))


@st.composite
def streams(draw: st.DrawFn) -> list[Sent]:
    """Events that often come several times in a row, as only neighbours can be merged."""
    mixed = draw(st.booleans())
    ending, sent = draw(endings), list[Sent]()
    for event, times in draw(st.lists(st.tuples(any_event, st.integers(1, 3)), max_size=15)):
        ending = draw(endings) if mixed else ending
        sent += [Sent(event.lines, event.text, ending)] * times
    return sent


def pieces(data: st.DataObject, wire: bytes) -> Iterator[bytes]:
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=25))
    for start, stop in pairwise(sorted([0, *cuts, len(wire)])):
        yield wire[start:stop]


def framed(data: st.DataObject, wire: bytes) -> bytes:
    """The stream as a reader of any speed gets it from a stream with pauses of any length."""
    framer, now, out = Framer(FRAME_SECONDS), 100.0, b""
    for piece in pieces(data, wire):
        now += data.draw(st.sampled_from([0.0, 0.001, 0.03, 0.05, 1.0]))
        framer.feed(piece, now)
        if data.draw(st.booleans()):
            out += framer.take(now)
    framer.end(now)
    return out + framer.take(now)


def blocks(wire: bytes) -> list[bytes]:
    """The events of a stream, with line endings and blank lines made alike."""
    lines = wire.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n\n")
    return [block.strip(b"\n") for block in lines if block.strip(b"\n")]


def merge(events: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Joins the texts of neighbours of one kind; bytes are an event that must be as it was."""
    joined: list[tuple[Any, str]] = []
    for kind, text in events:
        if joined and kind == joined[-1][0] and not isinstance(kind, bytes):
            joined[-1] = (kind, joined[-1][1] + text)
        else:
            joined.append((kind, text))
    return joined


def data_of(block: bytes) -> tuple[Any, str]:
    *names, line = block.split(b"\n")
    event = json.loads(line.removeprefix(b"data:"))
    return [names, blanked(event)], text_of(event)


@given(streams(), st.sampled_from([b"", b"data: {", b"data", b": x"]), st.data())
def test_frames_say_what_the_stream_said(
    sent: list[Sent], tail: bytes, data: st.DataObject
) -> None:
    """Text of a kind joins to the same text, and everything else is there byte for byte."""
    unmerged = {b"\n".join(event.lines) for event in sent if event.text is None}
    out = framed(data, b"".join(event.wire for event in sent) + tail)
    assert out.endswith(tail)
    expected = [
        data_of(b"\n".join(event.lines)) if event.text else (b"\n".join(event.lines), "")
        for event in sent
    ]
    found = [
        (block, "") if block in unmerged else data_of(block)
        for block in blocks(out[: len(out) - len(tail)])
    ]
    assert merge(found) == merge(expected)


@given(streams(), st.data())
def test_nothing_is_lost_from_a_stream_that_is_never_merged(
    sent: list[Sent], data: st.DataObject
) -> None:
    """A stream without text comes out as the bytes that went in."""
    wire = b"".join(event.wire for event in sent if event.text is None)
    assert framed(data, wire) == wire


some_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["delta", "content", "tool_calls", "index"]), inner)
    ),
    max_leaves=5,
)


@given(st.sampled_from(["object", "type", "choices", "model"]), some_json, st.data())
def test_any_json_passes(key: str, value: Any, data: st.DataObject) -> None:
    """A field of an unexpected kind breaks nothing."""
    event = {**chunk({"content": "x"}, index=value), key: value, "delta": value}
    wire = b"data: " + json.dumps(event).encode() + b"\n\n"
    assert framed(data, wire) == wire
    wire = b"data: " + json.dumps(chunk(value)).encode() + b"\n\n"
    assert framed(data, wire) == wire


@given(st.binary(max_size=300), st.data())
def test_any_bytes_pass(noise: bytes, data: st.DataObject) -> None:
    """Bytes that are no event stream at all pass as they are."""
    assert framed(data, noise) == noise


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "event",
    [
        lambda text: chunk({"content": text}),
        lambda text: chunk({"content": text, "role": "assistant", "refusal": None}),
        lambda text: chunk({"content": text}, obfuscation="x" * int(text)),
        lambda text: chunk({"content": None, "reasoning_content": text}),
        lambda text: chunk(arguments(1, text)),
        lambda text: response_delta("output_text", text, int(text)),
    ],
)
def test_texts_do_merge(event: Callable[[str], JSON], ending: bytes) -> None:
    """Texts of one kind that wait together become one event, in every line ending."""
    lines = [b"data: " + json.dumps(event(str(n))).encode() for n in range(10, 60)]
    framer = Framer(FRAME_SECONDS)
    framer.feed(b"".join(Sent((line,), "n", ending).wire for line in lines), 0.0)
    out = blocks(framer.take(0.0))
    assert len(out) == 1
    assert data_of(out[0])[1] == "".join(str(n) for n in range(10, 60))


def test_text_that_also_stands_elsewhere() -> None:
    """Only the text tells two events of one frame apart, not a field that happens to equal it."""
    events = [chunk({"content": "fp"}, system_fingerprint=of) for of in ("fp", "fq", "fp")]
    wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    framer = Framer(FRAME_SECONDS)
    framer.feed(wire, 0.0)
    assert framer.take(0.0) == wire
