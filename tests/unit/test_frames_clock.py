"""When frames leave, on a clock that the tests hold."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from agent.model.framer import LONGEST_EVENT_BYTES, LONGEST_FRAME_SECONDS, Framer

FRAME_SECONDS = 0.04
OPENING = (
    b'data: {"object":"chat.completion.chunk",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
)
TEXT = (
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
)


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
        framer.feed(TEXT, now)
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
        framer.feed(TEXT, now)
        assert framer.due is not None
        now = max(now, framer.due) + late
        assert framer.take(now)
        framer.feed(TEXT, now)
        assert framer.due is not None
        interval_seconds = framer.due - now
        assert interval_seconds <= LONGEST_FRAME_SECONDS + 1e-9
        assert interval_seconds >= min(FRAME_SECONDS + late - 0.01, LONGEST_FRAME_SECONDS) - 1e-9
        now = framer.due
        framer.take(now)


def test_opening_is_not_the_first_text() -> None:
    """The event that opens a message passes, and the first text still goes out at once."""
    framer = Framer(FRAME_SECONDS)
    for wire in (OPENING, TEXT):
        framer.feed(wire, 0.0)
        assert framer.take(0.0) == wire


def test_endless_event_is_not_collected() -> None:
    """An event that outgrows its limit passes as it comes, with all that follows it."""
    framer = Framer(FRAME_SECONDS)
    framer.feed(b"data: " + b"x" * LONGEST_EVENT_BYTES, 0.0)
    framer.feed(b"yz\n\n", 0.0)
    assert framer.take(0.0).endswith(b"xyz\n\n")
    assert framer.pending_bytes == 0
