"""How long the client waits: every limit and its default."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from .errors import FirstEventTimedOut, IdleTimedOut, RunTimedOut, SteadyError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds; None waits for ever.

    `connect_seconds`: reaching the server at first, all tries together.
    `first_event_seconds`: from the request to the run's first event: it may wait in the queue.
    `idle_timeout_seconds`: between two events. Heartbeats do not count.
    `heartbeat_timeout_seconds`: a connection that brings not even a heartbeat (LangGraph servers
    send one every 5 s) is taken for dead, and made anew.
    `run_seconds`: the whole stream.
    `reconnect_seconds`: without any working connection, once the run has begun.
    `request_timeout_seconds`: one answer to anything but a stream.

    Where a limit ends a stream, the run goes on at the server: it can be joined or cancelled.
    """

    connect_seconds: float = 3.0
    first_event_seconds: float | None = 120.0
    idle_timeout_seconds: float | None = 300.0
    heartbeat_timeout_seconds: float = 15.0
    run_seconds: float | None = None
    reconnect_seconds: float = 30.0
    request_timeout_seconds: float = 60.0


class Deadlines:
    """When the limits of one stream pass, whatever it waits for."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started: float | None = None
        self._heard = 0.0
        self._timer: asyncio.Timeout | None = None
        self.has_begun = False

    async def keep(self, step: Awaitable[T]) -> T:
        """What the stream's next step gives, unless a limit passes before: then its error.

        What the reader did between two steps is no silence of the server's.
        """
        self._heard = time.monotonic()
        self._started = self._started or self._heard
        try:
            async with asyncio.timeout(self._left_seconds()) as self._timer:
                return await step
        except TimeoutError:
            if self._timer and self._timer.expired():
                raise self._error() from None
            raise
        finally:
            self._timer = None

    def hear(self) -> None:
        """The server has told something new."""
        self._heard, self.has_begun = time.monotonic(), True
        if self._timer and not self._timer.expired():
            left = self._left_seconds()
            now = asyncio.get_running_loop().time()
            self._timer.reschedule(None if left is None else now + left)

    def _left_seconds(self) -> float | None:
        ends = self._ends()
        return ends[0][0] - time.monotonic() if ends else None

    def _error(self) -> SteadyError:
        _, seconds, kind = self._ends()[0]
        return kind.after(seconds)

    def _ends(self) -> list[tuple[float, float, type[RunTimedOut]]]:
        """When each limit passes, what it is, and its error; the first to pass comes first."""
        limits, started = self._limits, self._started or 0.0
        ends = [(started, limits.run_seconds, RunTimedOut)]
        if self.has_begun:
            ends.append((self._heard, limits.idle_timeout_seconds, IdleTimedOut))
        else:
            ends.append((started, limits.first_event_seconds, FirstEventTimedOut))
        set_ones = [(since + s, s, kind) for since, s, kind in ends if s is not None]
        return sorted(set_ones, key=lambda end: end[0])
