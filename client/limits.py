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
    """How long the client waits. Where a limit ends a stream, the run continues at the server.

    Args:
        connect_seconds: to reach the server at first, all tries together; then CannotConnect.
            Default: 3.
        first_event_seconds: from the request to the run's first event: it may wait in the queue;
            then FirstEventTimedOut. None: no limit. Default: 120.
        idle_timeout_seconds: from one event to the next; heartbeats do not count. Then
            IdleTimedOut. None: no limit. Default: 300.
        heartbeat_timeout_seconds: a connection that brings not even a heartbeat for so long is
            taken for dead, and another one is opened. LangGraph servers send a heartbeat every 5 s.
            Default: 15.
        run_seconds: the whole stream; then RunTimedOut. None: no limit, the default.
        reconnect_seconds: without a working connection, once the run has started; then
            ConnectionLost. Default: 30.
        request_timeout_seconds: the answer to any request but a stream; then ConnectionLost.
            Default: 60.

    Example::

        AgentClient(limits=Limits(idle_timeout_seconds=60, run_seconds=300))
    """

    connect_seconds: float = 3.0
    first_event_seconds: float | None = 120.0
    idle_timeout_seconds: float | None = 300.0
    heartbeat_timeout_seconds: float = 15.0
    run_seconds: float | None = None
    reconnect_seconds: float = 30.0
    request_timeout_seconds: float = 60.0


class Deadlines:
    """When the limits of one stream pass, whatever it waits for.

    One timer for all of its steps: a step's end moves the deadline, and the timer looks at it when
    the earliest one has passed.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._started: float | None = None
        self._last_event = 0.0
        self._has_events = False
        self._step: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def enforce(self, step: Awaitable[T]) -> T:
        """Returns what the stream's next step returns.

        What the reader does between two steps does not count as idle time of the server.

        Raises:
            RunTimedOut: a limit passed before; FirstEventTimedOut and IdleTimedOut are such.
        """
        self._last_event = time.monotonic()
        self._started = self._started or self._last_event
        try:
            async with asyncio.timeout(None) as self._step:
                if self._timer is None:
                    self._look()
                return await step
        except TimeoutError:
            if self._step and self._step.expired():
                raise self._error() from None
            raise
        finally:
            self._step = None

    def note_event(self) -> None:
        """The server has sent something new."""
        self._last_event, is_first = time.monotonic(), not self._has_events
        self._has_events = True
        if is_first:  # what holds from now on may pass sooner
            self.close()
            self._look()

    def close(self) -> None:
        """Ends the timer; another step begins it anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._step is None or self._step.expired():
            return
        left, loop = self._left_seconds(), asyncio.get_running_loop()
        if left is not None and left <= 0:
            self._step.reschedule(loop.time())
        elif left is not None:
            self._timer = loop.call_later(left, self._look)

    def _left_seconds(self) -> float | None:
        since, seconds, _ = self._next()
        return None if seconds is None else since + seconds - time.monotonic()

    def _error(self) -> SteadyError:
        _, seconds, kind = self._next()
        return kind.after(seconds or 0.0)

    def _next(self) -> tuple[float, float | None, type[RunTimedOut]]:
        """The limit that passes first: since when, how long, and its error."""
        limits, started = self._limits, self._started or 0.0
        kind: type[RunTimedOut] = FirstEventTimedOut
        since, seconds = started, limits.first_event_seconds
        if self._has_events:
            since, seconds, kind = self._last_event, limits.idle_timeout_seconds, IdleTimedOut
        whole = limits.run_seconds
        if whole is not None and (seconds is None or started + whole <= since + seconds):
            return started, whole, RunTimedOut
        return since, seconds, kind
