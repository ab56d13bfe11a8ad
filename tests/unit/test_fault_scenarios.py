"""Scenarios are drawn from their seed alone, and cover what they should."""

from collections import Counter
from functools import cache

import pytest

from tests.faults.plan import FOR_EVER
from tests.faults.scenarios import (
    GONE,
    MODEL_FAILED,
    MODEL_RETRIES,
    MODES,
    ROWS,
    Scenario,
    scenario,
)
from tests.model_script import tokens


@cache
def many() -> list[Scenario]:
    return [scenario(seed) for seed in range(2000)]


@pytest.mark.parametrize("frames", [True, False])
def test_a_seed_gives_the_same_scenario_again(frames: bool) -> None:
    """A failing seed can be run again alone."""
    for seed in range(200):
        assert scenario(seed, frames=frames) == scenario(seed, frames=frames)


def test_every_kind_of_fault_and_every_mode_comes() -> None:
    """2,000 seeds hold each row of the table and each mode alone, and all four together."""
    kinds = Counter(made.kind for made in many())
    assert kinds.keys() >= set(ROWS.values())
    assert {f"model: {kind}" for kind in ("breaks off", "ends early")} <= kinds.keys()
    assert min(kinds.values()) >= 5
    sets = Counter(made.modes for made in many())
    assert min(sets[mode,] for mode in MODES) >= 100
    assert sets[MODES] >= 20


def test_questions_are_unique() -> None:
    """The scripted model tells scenarios apart by their questions."""
    without_frames = [scenario(seed, frames=False) for seed in range(100)]
    questions = {made.question for made in [*many(), *without_frames]}
    assert len(questions) == len(many()) + 100


def test_an_error_is_right_only_where_the_plan_leaves_no_way() -> None:
    """Errors are allowed where the network stays away for ever, or the model or the network to it
    fails more often than it is asked again; only there."""
    for made in many():
        for_ever = any(fault.seconds == FOR_EVER for fault in made.plan.streams)
        fails = any(reply.fault for reply in made.replies)
        may_fail = fails or len(made.model_wire) > MODEL_RETRIES
        assert (made.allowed == GONE) == for_ever
        assert (made.allowed == MODEL_FAILED) == may_fail
        assert made.must_fail == fails
        assert bool(made.allowed) == (for_ever or may_fail)


def test_streams_are_short_and_of_all_speeds() -> None:
    """Answers have at most 400 tokens, at 30 a second or more; some are empty, some repeat."""
    replies = [reply for made in many() for reply in made.replies]
    counts = [len(tokens(reply.text)) for reply in replies]
    assert max(counts) <= 400
    assert any(count == 0 and not r.tool_calls for count, r in zip(counts, replies, strict=True))
    speeds = [reply.tokens_per_second for reply in replies]
    assert None in speeds
    assert all(speed is None or speed >= 30 for speed in speeds)
    assert any(len(set(reply.text)) == 1 and reply.tokens_per_second is None for reply in replies)


def test_readers_leave_and_join_again() -> None:
    """Some readers leave, up to three times, in every mode."""
    leavers = [made for made in many() if made.leaves]
    assert len(leavers) > 200
    assert {mode for made in leavers for mode in made.modes} == set(MODES)


def test_some_turns_wait_for_a_person() -> None:
    """In each mode there are turns with a call that must be approved before they go on."""
    waiting = [made for made in many() if made.approvals]
    assert len(waiting) > 100
    assert {mode for made in waiting for mode in made.modes} == set(MODES)


def test_without_model_faults_no_model_fails() -> None:
    """Where the model cannot be made to fail, no scenario wants it."""
    made = [scenario(seed, model_faults=False) for seed in range(500)]
    assert not any(m.must_fail or m.model_wire or any(r.fails for r in m.replies) for m in made)
