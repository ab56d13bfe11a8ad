"""When frames leave, on a clock that the tests hold."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from agent.model.frame_clock import LONGEST_FRAME_SECONDS, FrameClock, frame_seconds

FRAME_SECONDS = 0.04


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60), st.integers(1, 500))
def test_frames_keep_time(waits_seconds: list[float], answers: int) -> None:
    """The first text goes out at once, and each frame comes its interval after the one before."""
    clock, now = FrameClock(FRAME_SECONDS), 100.0
    assert clock.due < now
    for wait_seconds in waits_seconds:
        now = max(now, clock.due) + wait_seconds  # the model was silent
        clock.note_frame(now, answers)
        assert abs(clock.due - now - FRAME_SECONDS) < 1e-9


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=20))
@example([3.0, 0.0])
def test_late_loop_gets_rarer_frames(late_seconds: list[float]) -> None:
    """The later the loop wakes, the longer the next interval, up to a fifth of a second."""
    clock, now = FrameClock(FRAME_SECONDS), 100.0
    clock.note_frame(now, 1)
    for late in late_seconds:
        now = clock.due + late
        clock.note_wake(now)
        clock.note_frame(now, 1)
        interval_seconds = clock.due - now
        assert interval_seconds <= LONGEST_FRAME_SECONDS + 1e-9
        assert interval_seconds >= min(FRAME_SECONDS + late - 0.01, LONGEST_FRAME_SECONDS) - 1e-9


@given(st.integers(1, 1000))
def test_the_first_second_is_smooth(answers: int) -> None:
    """Without a setting, frames are frequent for a second, then follow the load."""
    clock, now = FrameClock(), 100.0
    while now < 101.0:
        clock.note_frame(now, answers)
        assert abs(clock.due - now - FRAME_SECONDS) < 1e-9
        now = clock.due
    intervals = list[float]()
    for _ in range(3):
        clock.note_frame(now, answers)
        intervals.append(clock.due - now)
        now = clock.due
    # The first may be shorter, so that the frame leaves with those of other answers.
    assert frame_seconds(answers) / 2 - 1e-9 < intervals[0] < frame_seconds(answers) * 1.01
    assert all(abs(interval - frame_seconds(answers)) < 1e-9 for interval in intervals[1:])


@given(
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=40),
    st.integers(1, 1000),
    st.floats(0.0, 0.01),
)
def test_answers_share_moments(starts: list[float], answers: int, spent: float) -> None:
    """Whenever answers begin, their frames leave at two moments in the time of a frame."""
    clocks, moments = [FrameClock() for _ in starts], set[float]()
    for clock, start in zip(clocks, starts, strict=True):
        clock.note_frame(100.0 + start, answers)
        while clock.due < 103.0:
            clock.note_frame(clock.due + spent, answers)
        seconds = frame_seconds(answers)
        moments.add(round(clock.due % seconds / seconds, 3) % 1)
    assert len(moments) <= 2


def test_frames_follow_the_load() -> None:
    """Few answers stay smooth; up to a hundred, a frame comes in a tenth of a second; never less
    than five a second."""
    intervals = [frame_seconds(answers) for answers in range(1, 1001)]
    assert intervals == sorted(intervals)
    assert intervals[3] == FRAME_SECONDS
    assert intervals[98] < 0.1
    assert intervals[-1] == LONGEST_FRAME_SECONDS
