"""How long the client waits: every limit and its default."""

import time
from dataclasses import dataclass

from client.errors import FirstEventTimedOut, RunTimedOut, SilenceTimedOut, SteadyError


@dataclass(frozen=True, slots=True)
class Limits:
    """Durations in seconds; None waits for ever.

    `connect_seconds`: reaching the server at first, all tries together.
    `first_event_seconds`: from the request to the run's first event: it may wait in the queue.
    `silence_seconds`: between two events. Heartbeats are life, not progress: they do not count.
    `life_seconds`: a connection that brings not even a heartbeat (LangGraph servers send one
    every 5 s) is taken for dead, and made anew.
    `run_seconds`: the whole stream.
    `reconnect_seconds`: without any working connection, once the run has begun.
    `answer_seconds`: one answer to anything but a stream.

    Where a limit ends a stream, the run goes on at the server: it can be joined or cancelled.
    """

    connect_seconds: float = 3.0
    first_event_seconds: float | None = 120.0
    silence_seconds: float | None = 300.0
    life_seconds: float = 15.0
    run_seconds: float | None = None
    reconnect_seconds: float = 30.0
    answer_seconds: float = 60.0


class Deadlines:
    """When the limits of one stream pass."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.has_begun = False
        self.start()

    def start(self) -> None:
        """The stream is asked for now."""
        self._started = self._heard = time.monotonic()

    def hear(self) -> None:
        """An event came."""
        self._heard, self.has_begun = time.monotonic(), True

    def left_seconds(self) -> float | None:
        """How long until the first limit passes; None: no limit."""
        return min((ends_at for ends_at, _ in self._ends()), default=None)

    def error(self) -> SteadyError:
        """What to raise for the limit that passes first."""
        return min(self._ends(), key=lambda end: end[0])[1]

    def _ends(self) -> list[tuple[float, SteadyError]]:
        limits, now = self._limits, time.monotonic()
        first, silence, run = (
            limits.first_event_seconds, limits.silence_seconds, limits.run_seconds,
        )  # fmt: skip
        ends: list[tuple[float, SteadyError]] = []
        if not self.has_begun and first is not None:
            ends.append((self._started + first - now, FirstEventTimedOut.after(first)))
        if self.has_begun and silence is not None:
            ends.append((self._heard + silence - now, SilenceTimedOut.after(silence)))
        if run is not None:
            ends.append((self._started + run - now, RunTimedOut.after(run)))
        return ends
