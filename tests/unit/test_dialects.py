"""What endpoints send, made regular: each habit of the table, whole, cut anywhere, and mixed."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model.answer_reader import AnswerReader
from agent.model.dialects import UnusableAnswer
from agent.model.framer import Framer
from tests.habits import HABITS, Habit, table
from tests.habits_of_responses import RESPONSES

CALCULATE = {"name": "calculate", "parameters": {"required": ["expression"]}}
REQUEST = json.dumps({"tools": [{"type": "function", "function": CALCULATE}]}).encode()


def answer_of(
    pieces: list[bytes], merges: bool, path: str = "/chat/completions"
) -> tuple[Any, ...]:
    """Text, reasoning, calls, counts and end of an answer, or the words of its failure."""
    reader = AnswerReader(Framer(merges), request=REQUEST, path=path)
    out = b""
    try:
        for number, piece in enumerate(pieces):
            reader.feed(piece)
            out += reader.framer.take() if number % 2 else b""
        reader.end()
    except UnusableAnswer as error:
        return (str(error),)
    out += reader.framer.take()
    return read(out) if path.endswith("completions") else read_responses(out)


def read_responses(wire: bytes) -> tuple[Any, ...]:
    """As LangChain reads it: arguments are of the call that was opened last."""
    said, thought, usage, finish = "", "", list[tuple[int, int]](), list[str]()
    calls: list[list[Any]] = []
    blocks = [line.removeprefix(b"data: ") for line in wire.split(b"\n\n")[:-1]]
    for event in [json.loads(block) for block in blocks if block != b"[DONE]"]:
        kind = event["type"]
        if kind == "response.output_text.delta":
            said += event["delta"]
        elif kind == "response.reasoning_summary_text.delta":
            thought += event["delta"]
        elif kind == "response.output_item.added" and event["item"]["type"] == "function_call":
            item = event["item"]
            calls.append([item["call_id"], item["name"], item["arguments"], event["output_index"]])
        elif kind == "response.function_call_arguments.delta":
            assert event["output_index"] == calls[-1][3]
            calls[-1][2] += event["delta"]
        elif kind in ("response.completed", "response.incomplete"):
            end = event["response"]
            if counts := end.get("usage"):
                usage.append((counts["input_tokens"], counts["output_tokens"]))
            reason = (end.get("incomplete_details") or {}).get("reason")
            refused = (end.get("metadata") or {}).get("steady_finish_reason")
            cut = {"max_output_tokens": "length"}.get(reason, reason)
            finish.append(refused or cut or ("tool_calls" if calls else "stop"))
    assert len({call[0] for call in calls}) == len(calls)
    found = [(call[1], json.loads(call[2])["expression"]) for call in calls]
    return said, thought, found, usage, finish


def read(wire: bytes) -> tuple[Any, ...]:
    said, thought, usage, finish = "", "", list[tuple[int, int]](), list[str]()
    calls: dict[int, list[Any]] = {}
    *blocks, done = [line.removeprefix(b"data: ") for line in wire.split(b"\n\n")[:-1]]
    assert done == b"[DONE]"
    for event in map(json.loads, blocks):
        if event.get("usage"):
            usage.append((event["usage"]["prompt_tokens"], event["usage"]["completion_tokens"]))
        for choice in event["choices"]:
            said += choice["delta"].get("content") or ""
            thought += choice["delta"].get("reasoning_content") or ""
            finish += [choice["finish_reason"]] if choice["finish_reason"] else []
            for part in choice["delta"].get("tool_calls") or ():
                known = calls.setdefault(part["index"], [part.get("id"), "", ""])
                assert part.get("id", known[0]) == known[0]
                known[1] += part["function"].get("name") or ""
                known[2] += part["function"]["arguments"]
    assert all(call[0] for call in calls.values())
    assert len({call[0] for call in calls.values()}) == len(calls)
    found = [(call[1], json.loads(call[2])["expression"]) for call in calls.values()]
    return said, thought, found, usage, finish


def expected_of_responses(habit: Habit) -> tuple[Any, ...]:
    *most, _, finish = expected(habit)
    return *most, finish


def expected(habit: Habit) -> tuple[Any, ...]:
    calls = [("calculate", expression) for expression in habit.expressions]
    finish = "tool_calls" if calls else habit.finish
    usage = [habit.usage] if habit.usage else []
    return habit.before if calls else habit.text, habit.reasoning, calls, usage, [finish]


def check(habit: Habit, found: tuple[Any, ...]) -> None:
    if habit.error:
        assert len(found) == 1
        assert re.search(habit.error, found[0])
    else:
        assert found == expected(habit)


PLAIN_BYTES = [habit for habit in HABITS if not habit.headers]
named = pytest.mark.parametrize("habit", PLAIN_BYTES, ids=lambda habit: habit.name)


@named
@pytest.mark.parametrize("merges", [True, False])
def test_each_habit_is_understood(habit: Habit, merges: bool) -> None:
    """Block by block, and all in one: the answer that was meant, or a failure that says why."""
    check(habit, answer_of(list(habit.raw), merges))
    check(habit, answer_of([b"".join(habit.raw)], merges))


@settings(max_examples=300)
@given(st.sampled_from(PLAIN_BYTES), st.lists(st.integers(0, 3000), max_size=20))
def test_cuts_do_not_matter(habit: Habit, cuts: list[int]) -> None:
    """Wherever the bytes are cut, the answer is the same."""
    wire = b"".join(habit.raw)
    ends = sorted({0, *(cut % (len(wire) + 1) for cut in cuts), len(wire)})
    check(habit, answer_of([wire[a:b] for a, b in pairwise(ends)] or [wire], merges=True))


def check_responses(habit: Habit, found: tuple[Any, ...]) -> None:
    if habit.error:
        check(habit, found)
        return
    *most, usage, finish = found
    assert (*most, finish) == expected_of_responses(habit)
    assert habit.usage is None or usage == [habit.usage]


@pytest.mark.parametrize("habit", RESPONSES, ids=lambda habit: habit.name)
@pytest.mark.parametrize("merges", [True, False])
def test_each_habit_of_responses_is_understood(habit: Habit, merges: bool) -> None:
    """Those of the Responses API likewise: block by block, and all in one."""
    for pieces in (list(habit.raw), [b"".join(habit.raw)]):
        check_responses(habit, answer_of(pieces, merges, "/responses"))


@settings(max_examples=200)
@given(st.sampled_from(RESPONSES), st.lists(st.integers(0, 6000), max_size=20))
def test_cuts_do_not_matter_in_responses(habit: Habit, cuts: list[int]) -> None:
    """Wherever the bytes are cut, the answer is the same."""
    wire = b"".join(habit.raw)
    ends = sorted({0, *(cut % (len(wire) + 1) for cut in cuts), len(wire)})
    pieces = [wire[a:b] for a, b in pairwise(ends)]
    check_responses(habit, answer_of(pieces, True, "/responses"))


@pytest.mark.parametrize("habits", [HABITS, RESPONSES], ids=["Chat Completions", "Responses"])
def test_the_readme_has_the_table(habits: list[Habit]) -> None:
    """`python -m tests.habits_of_responses` prints what stands in the room's README."""
    readme = Path(__file__).parents[2] / "agent" / "model" / "README.md"
    assert table(habits) in readme.read_text()
