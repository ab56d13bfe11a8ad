"""After a cut: what may be tried again, how long to wait, and where to go on.

What travels are deltas, and a cut is mended by replay. Accumulated state (the server's `messages`
mode) would make a resume trivial, but costs the square of the answer's length: 14.8 MB for 15 kB of
text, against about 9 bytes a token for framed deltas. Replay costs nothing until there is a cut.
State still has the last word: before `done` each message is compared with the thread's.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import CannotConnect, ConnectionLost, SteadyError, Unavailable

FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 4.0


def is_transient(error: SteadyError) -> bool:
    """Whether the same request may succeed in a moment."""
    return isinstance(error, CannotConnect | ConnectionLost | Unavailable)


def delays(limit_seconds: float) -> Iterator[float]:
    """Seconds to wait before each new try: doubling, with jitter, until the limit has passed."""
    end, delay = time.monotonic() + limit_seconds, FIRST_DELAY_SECONDS
    while (left := end - time.monotonic()) > 0:
        yield min(delay * random.uniform(0.5, 1.0), left)  # noqa: S311 - spreads load, no secret
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The two decisions of a reconnect; replace either to have your own."""

    is_transient: Callable[[SteadyError], bool] = is_transient
    delays: Callable[[float], Iterator[float]] = delays
