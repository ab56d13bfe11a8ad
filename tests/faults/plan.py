"""What a network can do to a run's requests, as data. Pure."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "rst",  # the connection is reset
    "fin",  # the connection is closed, without the response's end
    "end",  # the response ends cleanly, between two events
    "end_mid",  # the response ends cleanly, in the middle of an event
    "stall",  # nothing passes for a while, then it goes on
    "throttle",  # few bytes a second for a while
    "buffer",  # everything is held, and let go at intervals
    "split",  # each byte is a write of its own
    "refuse",  # all connections are reset and the port is closed for a while
    "reset",  # all connections are reset, and so is each new one for a while
    "status",  # an HTTP error instead of what was asked; the server never sees the request
    "unsent",  # the connection is reset; the server never sees the request
    "lost",  # the server takes the request, and the connection is reset before its answer
]

AT_END = -1
FOR_EVER = 3600.0


@dataclass(frozen=True)
class NetFault:
    """One thing that goes wrong with one response.

    It strikes once `after_bytes` bytes of the body have passed, or in place of the body's proper
    end (`AT_END`). `seconds` is how long it lasts; for `buffer` each interval; and for what ends
    the response, how long it hangs before that. `count` is how many bytes are split one by one, or
    how many pass in a second under `throttle`.
    """

    kind: Kind
    after_bytes: int = 0
    seconds: float = 0.0
    count: int = 0
    status: int = 503
    retry_after: str | None = None

    def __str__(self) -> str:
        told = [self.kind]
        if self.kind == "status":
            told = [str(self.status)]
        elif self.kind not in ("unsent", "lost", "buffer"):
            told.append("at the end" if self.after_bytes == AT_END else f"after {self.after_bytes}")
        if self.seconds:
            told.append("for ever" if self.seconds == FOR_EVER else f"{self.seconds:g}s")
        return " ".join(told)


@dataclass(frozen=True)
class Plan:
    """The faults of one scenario, each used once, in order.

    `start` hits the requests that create a run, `streams` the responses that are event streams.
    Any other request is hit with the probability `others`, never more than twice in a row, as
    `seed` says.
    """

    start: tuple[NetFault, ...] = ()
    streams: tuple[NetFault, ...] = ()
    others: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        told = [f"first request: {fault}" for fault in self.start]
        told += [f"stream: {fault}" for fault in self.streams]
        if self.others:
            told.append(f"{self.others:.0%} of other requests")
        return "; ".join(told) or "no network fault"
