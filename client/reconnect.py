"""After a cut: which failures are tried again, and how long to wait before each try.

The wire carries deltas, and a cut is mended by replaying them. Accumulated state (the server's
`messages` mode) would make that trivial, but its size grows with the square of the answer's length:
14.8 MB for 15 kB of text, against about 9 bytes a token for framed deltas. Replay costs nothing
until there is a cut. The thread's state still decides: before `done` each message is compared with
it.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .errors import CannotConnect, ConnectionLost, SteadyError, Unavailable

FIRST_DELAY_SECONDS = 0.05
LONGEST_DELAY_SECONDS = 4.0


def is_transient(error: SteadyError) -> bool:
    """Whether the same request may succeed in a moment: the default of `Reconnect`.

    Args:
        error: what went wrong.
    """
    return isinstance(error, CannotConnect | ConnectionLost | Unavailable)


def delays(limit_seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[float]:
    """Exponential backoff with jitter: the default of `Reconnect`.

    Args:
        limit_seconds: how long there may be new tries, from now on.
        clock: the time in seconds. Default: `time.monotonic`.

    Returns:
        Seconds to wait before each new try. It ends when the limit has passed.
    """
    end, delay = clock() + limit_seconds, FIRST_DELAY_SECONDS
    while (left := end - clock()) > 0:
        yield min(delay * random.uniform(0.5, 1.0), left)  # noqa: S311 - spreads load, no secret
        delay = min(2 * delay, LONGEST_DELAY_SECONDS)


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The two decisions of a reconnect; replace either to have your own.

    Args:
        is_transient: whether a failure is worth another try. Default: a server that cannot be
            reached, that broke off, or that says it is busy.
        delays: from a limit in seconds to the seconds to wait before each new try. Default:
            exponential, from 0.05 to 4 seconds, with jitter.

    Example::

        AgentClient(reconnect=Reconnect(is_transient=lambda error: False))  # never try again
    """

    is_transient: Callable[[SteadyError], bool] = is_transient
    delays: Callable[[float], Iterator[float]] = delays


class Backoff:
    """The waits between the tries of one thing, until it has worked or the time has passed."""

    def __init__(self, reconnect: Reconnect) -> None:
        self._reconnect = reconnect
        self._waits: Iterator[float] | None = None

    def reset(self) -> None:
        """A try has worked: the next failure is waited for as long as a first one."""
        self._waits = None

    async def wait(self, limit_seconds: float, least_seconds: float = 0.0) -> bool:
        """Waits before the next try; False, at once, when there is none.

        Args:
            limit_seconds: how long there may be new tries, counted from the first failure.
            least_seconds: how long the server says to wait; more than the limit is not waited.
        """
        self._waits = self._waits or self._reconnect.delays(limit_seconds)
        seconds = next(self._waits, None)
        if seconds is None or least_seconds > limit_seconds:
            return False
        await asyncio.sleep(max(seconds, least_seconds))
        return True
