"""When frames leave, on a clock that the tests hold."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from agent.model.framer import LONGEST_FRAME_SECONDS, Framer, text_shape

FRAME_SECONDS = 0.04


def chunk(delta: dict[str, str]) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


def add_text(framer: Framer, now: float) -> None:
    """Adds an event of text, as it comes."""
    found = text_shape(chunk({"content": "x"}))
    assert found
    framer.add_text(*found, 90, now)


@given(st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.039, 0.041, 0.3]), min_size=1, max_size=60))
def test_frames_keep_time(gaps_seconds: list[float]) -> None:
    """A reader that is always there gets the first text at once and the rest within an interval."""
    framer, now, times, arrived = Framer(FRAME_SECONDS), 100.0, list[float](), list[float]()
    taken = 0
    for gap_seconds in gaps_seconds:
        if framer.due is not None and framer.due <= now + gap_seconds:
            times.append(framer.due)
            taken = deliver(framer, framer.due, arrived, taken)
        now += gap_seconds
        add_text(framer, now)
        arrived.append(now)
        if framer.due is not None and framer.due <= now:
            times.append(now)
            taken = deliver(framer, now, arrived, taken)
        assert framer.take(now) == b""
    assert times[0] == arrived[0]
    assert all(later - earlier >= FRAME_SECONDS - 1e-9 for earlier, later in pairwise(times))


def deliver(framer: Framer, now: float, arrived: list[float], taken: int) -> int:
    assert framer.take(now)
    assert all(now - since <= FRAME_SECONDS + 1e-9 for since in arrived[taken:])
    return len(arrived)


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20))
@example([3.0, 0.0])
def test_late_reader_gets_rarer_frames(late_seconds: list[float]) -> None:
    """The later a frame was taken, the longer the next interval, up to a fifth of a second."""
    framer, now = Framer(FRAME_SECONDS), 100.0
    for late in late_seconds:
        add_text(framer, now)
        assert framer.due is not None
        now = max(now, framer.due) + late
        assert framer.take(now)
        add_text(framer, now)
        assert framer.due is not None
        interval_seconds = framer.due - now
        assert interval_seconds <= LONGEST_FRAME_SECONDS + 1e-9
        assert interval_seconds >= min(FRAME_SECONDS + late - 0.01, LONGEST_FRAME_SECONDS) - 1e-9
        now = framer.due
        framer.take(now)


def test_opening_is_not_the_first_text() -> None:
    """The event that opens a message goes out at once, and so does the first text."""
    framer = Framer(FRAME_SECONDS)
    framer.add(chunk({"role": "assistant", "content": ""}), 0.0)
    assert b"assistant" in framer.take(0.0)
    add_text(framer, 0.0)
    assert b'"x"' in framer.take(0.0)
