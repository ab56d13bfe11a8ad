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
        """An event came, or its reader came back for the next: only the server's silence counts."""
        self._heard, self.has_begun = time.monotonic(), True

    def left_seconds(self) -> float | None:
        """How long until the first limit passes; None: no limit."""
        ends = self._ends()
        return ends[0][0] - time.monotonic() if ends else None

    def error(self) -> SteadyError:
        """What to raise for the limit that passes first."""
        _, seconds, kind = self._ends()[0]
        return kind.after(seconds)

    def _ends(self) -> list[tuple[float, float, type[RunTimedOut]]]:
        """When each limit passes, what it is, and its error; the first to pass comes first."""
        limits = self._limits
        ends = [(self._started, limits.run_seconds, RunTimedOut)]
        if self.has_begun:
            ends.append((self._heard, limits.silence_seconds, SilenceTimedOut))
        else:
            ends.append((self._started, limits.first_event_seconds, FirstEventTimedOut))
        set_ones = [(since + s, s, kind) for since, s, kind in ends if s is not None]
        return sorted(set_ones, key=lambda end: end[0])
