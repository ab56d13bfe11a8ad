"""When the frames of an answer are due. Pure: the clock is the caller's.

A frame costs the same whether it holds one token or twenty. So frames are frequent where a person
sees it, in the first second of an answer, and where it costs little, with few answers at a time;
they get rarer with the number of open answers, and where the event loop runs behind.

Frames of all answers leave at common moments, two in the time of a frame: a processor that does the
same for many in a row does it from its caches, for half of what each costs alone.
"""

import math

SHORTEST_FRAME_SECONDS = 0.04
LONGEST_FRAME_SECONDS = 0.2
_USUAL_FRAME_SECONDS = 0.09
_FIRST_SECONDS = 1.0
_FRAMES_PER_SECOND = 220  # of all answers together, as long as frames are shorter than usual
_MOST_FRAMES_PER_SECOND = 1100
_PUNCTUAL_SECONDS = 0.005  # a frame that leaves this late is no sign of a busy event loop
_MOMENTS_PER_FRAME = 2
_PRECISION = 0.01  # of the time between two moments
_LATE_GAIN = 4  # slow down well before the delay itself is what a person notices


def frame_seconds(answers: int) -> float:
    """The time between two frames of an answer that has gone on for a while.

    Args:
        answers: how many are open in this process.
    """
    usual = min(answers / _FRAMES_PER_SECOND, _USUAL_FRAME_SECONDS)
    crowded = min(answers / _MOST_FRAMES_PER_SECOND, LONGEST_FRAME_SECONDS)
    return max(SHORTEST_FRAME_SECONDS, usual, crowded)


def _common_moment(due: float, period: float) -> float:
    """The last multiple of `period` that is not after `due`, but for the clock's precision."""
    return math.floor(due / period + _PRECISION) * period


class FrameClock:
    """When the next frame of one answer is due; times are seconds of any one monotonic clock.

    Args:
        fixed_seconds: the time between two frames; None, the default: it follows the load.
    """

    def __init__(self, fixed_seconds: float | None = None) -> None:
        self._fixed_seconds = fixed_seconds
        self._first_at = math.inf
        self._late_seconds = 0.0
        self.due = -math.inf

    def note_wake(self, now: float) -> None:
        """Takes note of when the event loop woke whoever waited until `due`."""
        self._late_seconds = max(now - self.due - _PUNCTUAL_SECONDS, 0.0)

    def note_frame(self, now: float, answers: int) -> None:
        """A frame leaves `now`, with so many answers open: sets `due`."""
        self._first_at = min(self._first_at, now)
        if self._fixed_seconds is not None:
            interval = self._fixed_seconds
        elif now - self._first_at < _FIRST_SECONDS:
            interval = SHORTEST_FRAME_SECONDS
        else:
            interval = frame_seconds(answers)
        slowest = max(LONGEST_FRAME_SECONDS, interval)
        self.due = now + min(interval + _LATE_GAIN * self._late_seconds, slowest)
        if self._fixed_seconds is None:
            self.due = _common_moment(self.due, interval / _MOMENTS_PER_FRAME)
