"""A reader's position in a run's stream, as text that outlives the reader."""

import math
import re
from dataclasses import dataclass
from typing import Self

_LARGEST_SEQUENCE = 2**64 - 1  # as Redis has it
_TEXT = re.compile(
    r"(?P<id>.+?)/(?P<count>\d+)/(?P<event>\d+)"
    r"(?:/(?P<snapshot>[\w-]+)(?:/(?P<origin>.+)/(?P<origin_count>\d+))?)?"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where reading can begin anew: after `count` parts of this id, with a decoder's snapshot."""

    id: str
    count: int
    snapshot: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """After the `event`-th event of the `count`-th part that has the server's event id `id`.

    Ids alone are not enough: the in-memory server gives all parts of one millisecond the same.
    Written `<id>/<count>/<event>/<snapshot>`, where `origin` is after the part; else the origin's
    id and count follow. A bare id, such as another client keeps, means all of its parts.
    """

    id: str
    count: float
    event: float
    origin: Origin | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what `str` wrote, or a server's own event id."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return cls(text, math.inf, math.inf)
        count, origin = int(match["count"]), None
        if match["snapshot"]:
            is_here = match["origin"] is None
            origin_count = count if is_here else int(match["origin_count"])
            origin = Origin(match["origin"] or match["id"], origin_count, match["snapshot"])
        return cls(match["id"], count, int(match["event"]), origin)

    def __str__(self) -> str:
        if self.count == math.inf:
            return self.id
        text, origin = f"{self.id}/{self.count}/{self.event}", self.origin
        if origin is None:
            return text
        is_here = (origin.id, origin.count) == (self.id, self.count)
        return f"{text}/{origin.snapshot}" + ("" if is_here else f"/{origin.id}/{origin.count}")

    def covers(self, other: "Cursor") -> bool:
        """Whether a reader at this cursor has read what is at `other`."""
        return other._key() <= self._key()

    def _key(self) -> tuple[tuple[int, ...], float, float]:
        return id_order(self.id), self.count, self.event


def id_order(event_id: str) -> tuple[int, ...]:
    """Sorts event ids: `<milliseconds>-<number>`, or any text with a growing number in it."""
    return tuple(map(int, re.findall(r"\d+", event_id)))


def id_before(event_id: str) -> str | None:
    """An id that sorts between this one and all before it; None where its form is not known."""
    match = re.fullmatch(r"(.*?)(\d+)(?:-(\d+))?", event_id)
    if match is None:
        return None
    head, number, sequence = match[1], int(match[2]), match[3]
    if sequence is None:
        return f"{head}{number - 1}"
    if int(sequence):
        return f"{head}{number}-{int(sequence) - 1}"
    return f"{head}{number - 1}-{_LARGEST_SEQUENCE}"
