"""The judge's ruler: what is lost, doubled, ended silently or told wrongly is always seen."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import (
    Done,
    Event,
    ModelFailed,
    Retry,
    RunStarted,
    StreamLost,
    Token,
    ToolCall,
    ToolResult,
    Update,
    Values,
)
from client.errors import SteadyError
from tests.faults import outcome as verdicts
from tests.faults.alignment import Difference, difference
from tests.faults.heard import Heard
from tests.faults.outcome import Outcome
from tests.faults.plan import Plan
from tests.faults.scenarios import GONE, MODEL_FAILED, Scenario
from tests.faults.truth import Truth
from tests.model_script import Reply
from tests.model_script import ToolCall as Call

WORDS = tuple(f"{' ' if n else ''}word{n}" for n in range(30))
TOKENS = st.lists(st.sampled_from(["no ", "ha", " word1", " word12", "日", "\n\n"]), min_size=2)

# Counting


@given(TOKENS)
def test_what_is_equal_has_no_difference(tokens: list[str]) -> None:
    """The truth itself has nothing lost, nothing doubled and nothing cut off."""
    assert difference(tokens, "".join(tokens)) == Difference()


@given(TOKENS, st.data())
def test_a_lost_token_is_counted(tokens: list[str], data: st.DataObject) -> None:
    """Taking one token out is one token lost or cut off, and nothing doubled."""
    at = data.draw(st.integers(0, len(tokens) - 1))
    found = difference(tokens, "".join(tokens[:at] + tokens[at + 1 :]))
    assert (found.lost + found.cut_off, found.doubled) == (1, 0)


@given(TOKENS, st.data())
def test_a_doubled_token_is_counted(tokens: list[str], data: st.DataObject) -> None:
    """Putting one token in twice is one token doubled, and nothing lost."""
    at = data.draw(st.integers(0, len(tokens) - 1))
    found = difference(tokens, "".join(tokens[: at + 1] + tokens[at:]))
    assert found == Difference(doubled=1)


@given(st.integers(0, 28))
def test_swapped_tokens_are_counted(at: int) -> None:
    """Two tokens in the wrong order are one lost and one doubled."""
    swapped = [*WORDS[:at], WORDS[at + 1], WORDS[at], *WORDS[at + 2 :]]
    found = difference(WORDS, "".join(swapped))
    assert (found.lost + found.cut_off, found.doubled) == (1, 1)


@given(st.integers(0, 29))
def test_a_missing_end_is_told_from_a_gap(count: int) -> None:
    """What is missing after the last token that came is cut off, not lost."""
    assert difference(WORDS, "".join(WORDS[:count])) == Difference(cut_off=30 - count)


def test_a_foreign_text_is_no_part_of_the_truth() -> None:
    """Characters that no token of the truth has count as doubled."""
    assert difference(WORDS, "".join(WORDS) + "xyz") == Difference(doubled=3)


# Verdicts

CALL = {"id": "call-1", "name": "calculate", "args": {"expression": "6*7"}}
SAID = ("Let me see.", "".join(WORDS))
ASKED = Scenario(
    seed=0,
    kind="cut",
    modes=("messages", "updates", "values", "events"),
    question="?",
    replies=(
        Reply("Let me see.", tool_calls=[Call("calculate", {"expression": "6*7"}, id="call-1")]),
        Reply(WORDS),
    ),
    plan=Plan(),
)
STATE = {
    "messages": [
        {"id": "q", "type": "human"},
        {"id": "a", "type": "ai"},
        {"id": "t", "type": "tool"},
        {"id": "b", "type": "ai"},
    ]
}
TRUTH = Truth(STATE, ("success",), {"a": SAID[0], "b": SAID[1]}, (CALL,))
DONE = Done("success", "run", 1, 2)


def chunk(at: str, text: str) -> Event:
    return Event("on_chat_model_stream", "model", {"chunk": {"id": at, "content": text}})


def end(at: str) -> Event:
    return Event("on_chat_model_end", "model", {"output": {"id": at}})


RIGHT: list[Any] = [
    RunStarted("run", "thread", 1),
    *(Token("Let me", "a", "model"), Token(" see.", "a", "model")),
    ToolCall("call-1", "calculate", {"expression": "6*7"}, "model"),
    *(chunk("a", "Let me"), chunk("a", " see."), end("a")),
    Update("model", {"messages": [{"id": "a"}]}),
    ToolResult("call-1", "calculate", "ok", "6*7 = 42"),
    Update("tools", {"messages": [{"id": "t"}]}),
    *(Token(word, "b", "model") for word in WORDS),
    *(chunk("b", SAID[1]), end("b")),
    Update("model", {"messages": [{"id": "b"}]}),
    Values(STATE),
    DONE,
]


def ended(
    events: list[Any], text: str = SAID[1], calls: list[Any] | None = None, truth: Truth = TRUTH
) -> Outcome:
    return verdicts.of_end(ASKED, heard(events), text, [CALL] if calls is None else calls, truth)


def heard(events: list[Any]) -> Heard:
    made = Heard()
    for event in events:
        made.take(event)
    return made


def test_a_whole_stream_is_complete() -> None:
    """What is all there, once and in order, is complete."""
    outcome = ended(RIGHT)
    assert (outcome.verdict, outcome.lost, outcome.doubled) == ("complete", 0, 0)
    assert outcome.is_right


def test_a_replaced_message_is_complete() -> None:
    """What a Retry tells to discard is not counted, and what follows it is."""
    at = RIGHT.index(Token(WORDS[5], "b", "model"))
    assert ended([*RIGHT[:at], Token("oops", "b", "model"), *RIGHT[at:]]).verdict != "complete"
    again = [Retry(1, "b", "put right"), *(Token(word, "b", "model") for word in WORDS[:5])]
    assert ended([*RIGHT[:at], Token("oops", "b", "model"), *again, *RIGHT[at:]]).is_right


@pytest.mark.parametrize("at", range(len(RIGHT)))
def test_no_event_can_be_missing(at: int) -> None:
    """Whichever event is taken out of a right stream but the run's start, the verdict is wrong."""
    outcome = ended(RIGHT[:at] + RIGHT[at + 1 :])
    assert outcome.is_right == (at == 0)


@pytest.mark.parametrize("at", range(len(RIGHT)))
def test_no_event_can_come_twice(at: int) -> None:
    """Whichever event of a right stream comes twice, the verdict is wrong, the state's aside."""
    outcome = ended(RIGHT[: at + 1] + RIGHT[at:])
    assert outcome.is_right == isinstance(RIGHT[at], RunStarted | Values)


@pytest.mark.parametrize("at", [6, 13, 20])
def test_what_is_wrong_in_the_text_is_counted(at: int) -> None:
    """Lost and doubled tokens of a message are told by number, and an end too soon is silent."""
    first = RIGHT.index(Token(WORDS[0], "b", "model"))
    lost = ended(RIGHT[: first + at] + RIGHT[first + at + 3 :])
    doubled = ended(RIGHT[: first + at] + RIGHT[first + at - 4 :])
    silent = ended([e for e in RIGHT if e not in [Token(w, "b", "model") for w in WORDS[at:]]])
    assert (lost.verdict, lost.lost, lost.doubled) == ("lost or doubled", 3, 0)
    assert (doubled.verdict, doubled.lost, doubled.doubled) == ("lost or doubled", 0, 4)
    assert (silent.verdict, silent.lost) == ("silent end", 30 - at)


@pytest.mark.parametrize(
    "outcome",
    [
        ended(RIGHT, text=SAID[1][:-1]),
        ended(RIGHT, text=SAID[0] + SAID[1]),
        ended(RIGHT, calls=[]),
        ended(RIGHT, calls=[CALL, CALL]),
        ended([*RIGHT[:-2], Values({"messages": []}), DONE]),
        ended([*RIGHT[:-1], Done("stopped", "run", 1, 2)]),
        ended([*RIGHT, Token("more", "b", "model")]),
        ended([*RIGHT[:-1], Token("more", "c", "model"), DONE]),
        ended(RIGHT, truth=replace(TRUTH, runs=("success", "success"))),
        ended(RIGHT, truth=replace(TRUTH, runs=("running",))),
        ended(RIGHT, truth=replace(TRUTH, messages={"a": "?", "b": SAID[1]})),
    ],
    ids=str,
)
def test_a_wrong_result_is_seen(outcome: Outcome) -> None:
    """Text, calls, state, status, order and the number of runs: each is looked at."""
    assert not outcome.is_right


def test_a_model_failure_that_is_not_told_is_a_silent_end() -> None:
    """A stream that ends well although the model failed is a silent end."""
    failed = replace(ASKED, must_fail=True, allowed=MODEL_FAILED)
    outcome = verdicts.of_end(
        failed, heard(RIGHT), SAID[1], [CALL], replace(TRUTH, runs=("error",))
    )
    assert outcome.verdict == "silent end"


def raised(error: SteadyError, events: list[Any], allowed: frozenset[str] = GONE) -> Outcome:
    return verdicts.of_error(replace(ASKED, allowed=allowed), heard(events), error)


def lost(text: str = "Let me", **fields: str) -> StreamLost:
    return StreamLost("Gone.", text=text, **{"run_id": "run", "thread_id": "thread", **fields})


def test_an_error_that_the_plan_allows_is_told() -> None:
    """A right error with the ids and the beginning of a text is right; so is one before the run."""
    assert raised(lost(), RIGHT[:2]).verdict == "told"
    assert raised(lost("", run_id="", thread_id=""), []).verdict == "told"


@pytest.mark.parametrize(
    "outcome",
    [
        raised(lost(), RIGHT[:2], allowed=frozenset()),
        raised(ModelFailed("?", run_id="run", thread_id="thread"), RIGHT[:2]),
        raised(lost(run_id=""), RIGHT[:2]),
        raised(lost(thread_id=""), RIGHT[:2]),
        raised(lost("Let us"), RIGHT[:2]),
        raised(lost(), RIGHT),
        raised(lost(), [RIGHT[0], RIGHT[2]]),
        raised(lost(), [RIGHT[0], RIGHT[1], RIGHT[1]]),
    ],
    ids=str,
)
def test_a_wrong_error_is_seen(outcome: Outcome) -> None:
    """Kind, ids, text and what came before it: each is looked at."""
    assert not outcome.is_right
