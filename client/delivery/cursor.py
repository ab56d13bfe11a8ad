"""A reader's position in a run's stream, as text that outlives the reader."""

import math
import re
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Cursor:
    """After the `event`-th event of the `count`-th part that has the server's event id `id`.

    Ids alone are not enough: the in-memory server gives all parts of one millisecond the same.
    Written `<id>/<count>/<event>`; a bare id, such as another client keeps, means all of its parts.
    """

    id: str
    count: float
    event: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what `str` wrote, or a server's own event id."""
        match = re.fullmatch(r"(.+)/(\d+)/(\d+)", text)
        if match is None:
            return cls(text, math.inf, math.inf)
        return cls(match[1], int(match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.id}/{self.count}/{self.event}" if self.count < math.inf else self.id

    def covers(self, other: "Cursor") -> bool:
        """Whether a reader at this cursor has read what is at `other`."""
        return other._key() <= self._key()

    def _key(self) -> tuple[tuple[int, ...], float, float]:
        return id_order(self.id), self.count, self.event


def id_order(event_id: str) -> tuple[int, ...]:
    """Sorts event ids: `<milliseconds>-<number>`, or any text with a growing number in it."""
    return tuple(map(int, re.findall(r"\d+", event_id)))
