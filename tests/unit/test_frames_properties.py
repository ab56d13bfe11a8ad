"""Whatever a model sends, however it is cut, frames say the same as the stream did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.answer_reader import AnswerReader
from agent.model.dialects import UnusableAnswer
from agent.model.framer import Framer

JSON = dict[str, Any]
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"

words = st.text(max_size=5) | st.sampled_from(
    ['"', "\\", "\n", "\0", "usage", "m", " ü", "🎉🎉", "<", "</", "think>", "`", "<think>"]
)
some = words.filter(bool)


def chunk(delta: Any, **fields: Any) -> JSON:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    choice |= {key: fields.pop(key) for key in list(fields) if key in choice}
    base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**base, "choices": [choice], "usage": None, **fields}


def arguments(index: int, text: str) -> JSON:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def response_delta(part: str, text: str, number: int) -> JSON:
    place = {"item_id": "i", "output_index": 0, "content_index": 0, "delta": text}
    padding = {"sequence_number": number, "obfuscation": "x" * (number % 7)}
    return {"type": f"response.{part}.delta", **place, **padding}


index = st.integers(0, 1)
chunks = st.one_of(
    st.builds(lambda text: chunk({"content": text}), some),
    st.builds(lambda text: chunk({"role": "assistant", "content": text}), some),
    st.builds(lambda text, model: chunk({"content": text}, model=model), some, st.just("n")),
    st.builds(lambda text, pad: chunk({"content": text}, obfuscation=pad), some, some),
    st.builds(lambda text: chunk({"reasoning_content": text, "content": None}), some),
    st.builds(lambda text: chunk({"reasoning": text}), some),
    st.builds(lambda text: chunk({"refusal": text}), some),
    st.builds(lambda text: chunk({"content": text}, logprobs={"content": [{}]}), words),
    st.builds(lambda text, new: chunk({"content": text}, citations=new), words, st.just(["x"])),
    st.builds(lambda at, text: chunk(arguments(at, text)), index, some),
    st.builds(
        lambda at: chunk({"tool_calls": [{"index": at, "id": f"x{at}", "function": OPEN}]}), index
    ),
    st.sampled_from([chunk({"content": ""}), chunk({}), chunk(None), {"choices": []}]),
)
OPEN = {"name": "f", "arguments": '{"a": "'}
part = st.sampled_from(["output_text", "reasoning_text", "reasoning_summary_text", "refusal"])
response_events = st.builds(response_delta, part, some, st.integers(0, 99))
END = [chunk({}, finish_reason="stop")]
RESPONSE_END = [{"type": "response.completed", "response": {"status": "completed", "output": []}}]


@st.composite
def wires(draw: st.DrawFn, events: st.SearchStrategy[JSON], end: list[JSON]) -> bytes:
    """Events that often come several times in a row, as only neighbours can be merged."""
    ending = draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    sent = draw(st.lists(st.tuples(events, st.integers(1, 3)), max_size=15))
    blocks = [event for event, times in sent for _ in range(times)] + end
    ascii_only = draw(st.booleans())
    noise = draw(st.sampled_from([b"", b": ping", b"event: ping", b"id: 7", b"retry: 5"]))
    return b"".join(
        noise
        + (ending * 2 if noise else b"")
        + b"data: "
        + json.dumps(event, ensure_ascii=ascii_only).encode()
        + ending * 2
        for event in blocks
    )


def pieces(data: st.DataObject, wire: bytes) -> Iterator[bytes]:
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=25))
    for start, stop in pairwise(sorted([0, *cuts, len(wire)])):
        yield wire[start:stop]


def framed(data: st.DataObject, wire: bytes, path: str) -> bytes:
    """The stream as it is read when frames are due: some pieces, and what they are as a frame."""
    reader, out = AnswerReader(Framer(), path=path), b""
    try:
        for piece in pieces(data, wire):
            reader.feed(piece)
            if data.draw(st.booleans()):
                out += reader.framer.take()
        reader.end()
    except UnusableAnswer as error:
        return out + reader.framer.take() + f"\n\n{error}".encode()
    return out + reader.framer.take()


def unframed(wire: bytes, path: str) -> bytes:
    reader = AnswerReader(Framer(merges=False), path=path)
    try:
        reader.feed(wire)
        reader.end()
    except UnusableAnswer as error:
        return reader.framer.take() + f"\n\n{error}".encode()
    return reader.framer.take()


def merged(wire: bytes) -> list[Any]:
    """The events of a stream, with the texts of neighbours of one kind joined."""
    joined: list[Any] = []
    for block in filter(None, wire.split(b"\n\n")):
        line = block.removeprefix(b"data: ")
        kind, text = told(json.loads(line)) if line.startswith(b"{") else (line, "")
        if text and joined and joined[-1][0] == kind:
            joined[-1][1] += text
        else:
            joined.append([kind, text])
    return joined


def told(event: JSON) -> tuple[Any, str]:
    """An event without its text and what differs within a frame, and the text."""
    event = {k: v for k, v in event.items() if k not in ("sequence_number", "obfuscation")}
    if "delta" in event:
        return {**event, "delta": ""}, str(event["delta"])
    delta = (event.get("choices") or [{}])[0].get("delta") or {}
    if calls := delta.get("tool_calls"):
        text, calls[0]["function"]["arguments"] = calls[0]["function"]["arguments"], ""
        calls[0]["id"] = bool(calls[0].get("id"))  # one that was made up is another each time
        return event, text
    keys = [key for key in ("content", "reasoning_content") if delta.get(key)]
    text = delta[keys[0]] if keys else ""
    if keys:
        delta[keys[0]] = ""
    return [event, keys], text


@given(wires(chunks, END), st.data())
def test_frames_say_what_the_stream_said(wire: bytes, data: st.DataObject) -> None:
    """However a chat's stream is cut, the joined texts and the other events are same."""
    assert merged(framed(data, wire, CHAT)) == merged(unframed(wire, CHAT))


@given(wires(response_events, RESPONSE_END), st.data())
def test_frames_say_what_a_response_said(wire: bytes, data: st.DataObject) -> None:
    """So it is for the Responses API."""
    assert merged(framed(data, wire, RESPONSES)) == merged(unframed(wire, RESPONSES))


@given(st.lists(some, max_size=20), st.data())
def test_text_is_the_models(texts: list[str], data: st.DataObject) -> None:
    """Behind a word that cannot begin a tag, the answer is every text that was sent, joined."""
    events = [chunk({"content": text}) for text in ["Yes <think>", *texts]] + END
    wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    out = [json.loads(line[6:]) for line in framed(data, wire, CHAT).split(b"\n\n")[:-2]]
    found = [event["choices"][0]["delta"].get("content") or "" for event in out]
    assert "".join(found) == "".join(["Yes <think>", *texts])


_KEYS = [
    "delta",
    "content",
    "tool_calls",
    "index",
    "function",
    "arguments",
    "name",
    "id",
    "message",
    "error",
    "usage",
    "response",
    "item",
    "output",
    "text",
    "type",
    "choices",
    "finish_reason",
    "reasoning_details",
]
some_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inner,
        )
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(["object", "type", "choices", "model", "usage", "response", "item", "error"]),
    some_json,
    st.sampled_from([CHAT, RESPONSES]),
    st.data(),
)
def test_any_json_is_an_answer_or_a_failure(
    key: str, value: Any, path: str, data: st.DataObject
) -> None:
    """A field of an unexpected kind is understood or a failure with a name, nothing else."""
    first = {"type": "response.output_item.added"} if path == RESPONSES else {}
    events = [
        {**first, **chunk({"content": "x"}), key: value, "delta": value},
        chunk(value),
        {**chunk({}), "choices": [{"index": 0, "message": value, "finish_reason": value}]},
    ]
    for event in events:
        framed(data, b"data: " + json.dumps(event).encode() + b"\n\n", path)
        framed(data, json.dumps(event).encode(), path)


@given(st.binary(max_size=300), st.sampled_from([CHAT, RESPONSES]), st.data())
def test_any_bytes_are_an_answer_or_a_failure(noise: bytes, path: str, data: st.DataObject) -> None:
    """So it is for bytes that are no event stream at all, behind data or not."""
    framed(data, noise, path)
    framed(data, b"data: " + noise + b"\n\n", path)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize(
    "event",
    [
        lambda text: chunk({"content": text}),
        lambda text: chunk({"content": text, "role": "assistant", "refusal": None}),
        lambda text: chunk({"content": text}, obfuscation="x" * int(text)),
        lambda text: chunk({"content": None, "reasoning": text}),
        lambda text: response_delta("output_text", text, int(text)),
    ],
)
def test_texts_do_merge(event: Callable[[str], JSON], ending: bytes) -> None:
    """Texts of one kind that wait together become one event, in every line ending."""
    events = [event(str(n)) for n in range(10, 60)]
    wire = b"".join(b"data: " + json.dumps(event).encode() + ending * 2 for event in events)
    path = RESPONSES if "type" in events[0] else CHAT
    reader = AnswerReader(Framer(), path=path)
    if path == CHAT:
        reader.feed(b'data: {"choices":[{"delta":{"role":"assistant"}}]}\n\n')
    reader.feed(wire)
    found = [text for _, text in merged(reader.framer.take()) if text]
    assert reader.framer.take() == b""
    assert found == ["".join(str(n) for n in range(10, 60))]


def test_text_that_also_stands_elsewhere() -> None:
    """Only the text tells two events of one frame apart, not a field that happens to equal it."""
    events = [chunk({"content": "fp"}, system_fingerprint=of) for of in ("fp", "fq", "fp")]
    wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    reader = AnswerReader(Framer())
    reader.feed(wire)
    found = [json.loads(line[6:]) for line in reader.framer.take().split(b"\n\n")[:-1]]
    opening, *found = found
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["system_fingerprint"] for event in found] == ["fp", "fq", "fp"]
    assert [event["choices"][0]["delta"]["content"] for event in found] == ["fp"] * 3
