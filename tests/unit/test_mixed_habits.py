"""Several habits in one answer: whatever an endpoint combines, the answer is the one it meant."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.habits import DONE, JSON, block, call, chunk
from tests.unit.test_dialects import answer_of

LETTERS = st.text(alphabet="abé😀 <`\n", max_size=20)
COUNTS = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}


def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """The text cut between any two of its UTF-16 units, as Java and JavaScript cut it."""
    units = text.encode("utf-16-le", "surrogatepass")
    whole = "".join(
        chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2)
    )
    cuts = draw(st.lists(st.integers(0, len(whole)), max_size=4))
    ends = sorted({0, *cuts, len(whole)})
    return [whole[a:b] for a, b in pairwise(ends)]


def thoughts(draw: st.DrawFn, reasoning: str) -> list[JSON]:
    """Reasoning in one of its fields, or in a block of the content."""
    name = draw(st.sampled_from(["reasoning_content", "reasoning", "reasoning_details", "block"]))
    if name == "reasoning_details":
        return [{name: [{"type": "reasoning.text", "text": reasoning}]}]
    if name == "block":
        return [{"content": [{"type": "thinking", "thinking": reasoning}]}]
    return [{name: piece} for piece in pieces(draw, reasoning)]


def texts(draw: st.DrawFn, text: str, reasoning: str) -> list[JSON]:
    """The answer as text or as blocks; its reasoning may stand in tags before it."""
    if reasoning:
        return [
            {"content": piece} for piece in pieces(draw, f"<think>{reasoning}</think>\n\n{text}")
        ]
    parts = pieces(draw, text)
    if draw(st.booleans()):
        return [{"content": [{"type": "text", "text": part}]} for part in parts]
    return [{"content": part} for part in parts]


def arguments(draw: st.DrawFn, expression: str) -> Any:
    """The arguments of a call, in one of the forms in which they come whole."""
    made = {"expression": expression}
    text = json.dumps(made)
    return draw(st.sampled_from([text, made, json.dumps(text), f"```json\n{text}\n```"]))


def called(draw: st.DrawFn, expressions: list[str]) -> list[JSON]:
    """The fragments of calls, told apart in one of the ways that endpoints have."""
    way = draw(st.sampled_from(["index", "ids", "no ids", "interleaved", "{} first"]))
    made: list[JSON] = []
    for n, expression in enumerate(expressions):
        text = json.dumps({"expression": expression})
        if way == "ids":
            index = draw(st.sampled_from([0, None, ...]))
            made.append(call(arguments(draw, expression), id=f"c{n}", index=index))
        elif way == "no ids":
            made.append(
                call(arguments(draw, expression), id=draw(st.sampled_from(["", ...])), index=n)
            )
        elif way == "{} first":
            made += [call("{}", id=f"c{n}", index=n), call(text, None, id=..., index=n)]
        else:
            again: Any = draw(st.sampled_from([..., f"c{n}"]))
            made.append(call("", id=f"c{n}", index=n))
            made += [call(part, None, id=again, index=n) for part in (text[:9], text[9:])]
    if way == "interleaved":
        made.sort(key=lambda fragment: bool(fragment["function"].get("arguments")))
    return made


def written(draw: st.DrawFn, events: list[bytes]) -> bytes:
    """The events as a stream, in one of its spellings, with noise between them."""
    spelling = draw(st.sampled_from(["plain", "CRLF", "no space"]))
    noise = st.sampled_from(
        [b"", b"", b": alive\n\n", b"event: ping\n\n", b"id: 7\n\n", b"retry: 9\n\n"]
    )
    wire = b"".join(draw(noise) + event for event in events)
    if spelling == "CRLF":
        return wire.replace(b"\n", b"\r\n")
    return wire.replace(b"data: ", b"data:") if spelling == "no space" else wire


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, tuple[Any, ...]]:
    """An answer's bytes, and what it means."""
    text = "a" + draw(LETTERS)
    reasoning = draw(st.sampled_from(["", "hm", "hm 😀 hm"]))
    expressions = draw(st.lists(st.sampled_from(["1+1", "2+2", "1+1"]), max_size=3))
    in_tags = bool(reasoning) and draw(st.booleans())
    deltas = [] if in_tags or not reasoning else thoughts(draw, reasoning)
    deltas += texts(draw, text, reasoning if in_tags else "")
    deltas += [{"tool_calls": [fragment]} for fragment in called(draw, expressions)]
    usage = draw(st.sampled_from(["", "at the end", "on each", "in the choice", "x_groq"]))
    each = {"usage": {**COUNTS, "completion_tokens": 1}} if usage == "on each" else {}
    events = [chunk(delta, **each) for delta in deltas]
    finish = draw(st.sampled_from(["stop", "tool_calls", None]))
    last: JSON = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    if usage == "in the choice":
        last["choices"][0]["usage"] = COUNTS
    elif usage == "x_groq":
        last["x_groq"] = {"usage": COUNTS}
    elif usage:
        last["usage"] = COUNTS
    ends = finish is not None and draw(st.booleans())
    wire = written(draw, [*events, block(last), *([] if ends else [DONE])])
    calls = [("calculate", expression) for expression in expressions]
    counts = [(5, 4)] if usage else []
    return wire, (text, reasoning, calls, counts, ["tool_calls" if calls else "stop"])


@given(answers(), st.lists(st.integers(0, 3000), max_size=12), st.booleans())
def test_mixed_habits_are_understood(
    answer: tuple[bytes, tuple[Any, ...]], cuts: list[int], merges: bool
) -> None:
    """Text, reasoning, calls, counts and end are those that were meant, however it is cut."""
    wire, meant = answer
    ends = sorted({0, *(cut % (len(wire) + 1) for cut in cuts), len(wire)})
    assert answer_of([wire[a:b] for a, b in pairwise(ends)], merges) == meant
