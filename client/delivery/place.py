"""How far a run's stream has been read, over all its connections."""

from .cursor import Cursor, order
from .wire import Part

BEGINNING = "-1"


class Place:
    """How far a run's stream has been read, over all its connections.

    Ids alone do not tell: the in-memory server gives all events of one millisecond the same id, and
    a joined stream replays what is stored and then repeats what was put while it replayed. So a
    join asks from before the last id, and skips as many events of that id as were read already. An
    id smaller than the last one marks where the repetition begins. If all that is repeated has one
    id, it looks like new events that say the same again; then `is_unsure`, and the next join
    settles it: events from before a join are never repeated in it.

    `stored` names the kinds of parts that the server keeps for replay. Others, such as `error`,
    come once if at all, and count for nothing here.
    """

    def __init__(self, stored: frozenset[str]) -> None:
        self._stored = stored
        self.id: str | None = None
        self.count = 0
        self.is_unsure = False
        self._before = BEGINNING
        self._in_pass = 0
        self._order: tuple[int, ...] = ()
        self._is_joined = False
        self._is_settled = True
        self._bodies: set[bytes] = set()

    @property
    def cursor(self) -> Cursor | None:
        """After the last part that was read; None where parts have no ids."""
        return Cursor(self.id, self.count, 0) if self.id is not None else None

    @property
    def is_passed(self) -> bool:
        """Whether the present connection has come to where the last one was."""
        return self._in_pass >= self.count

    def rejoin(self) -> str:
        """Begins the next connection; the id to ask for what follows it."""
        self._is_joined = self._is_settled = True
        self._in_pass, self.is_unsure = 0, False
        return self._before

    def counts(self, part: Part) -> bool:
        """Whether the part has a place among those that are kept for replay."""
        return part.id is not None and part.name.partition("|")[0] in self._stored

    def take(self, part: Part) -> bool:
        """Whether the part is new; if it is, it counts as read."""
        if self.is_unsure:
            return False
        if part.id is None or not self.counts(part):
            return True
        if part.id != self.id:
            at = order(part.id)
            if self._is_joined and at <= self._order:
                self._in_pass = 0
                return False
            self._begin(part.id, at)
        self._in_pass += 1
        if self._in_pass <= self.count:
            return False
        if not self._is_settled and part.raw in self._bodies:
            self.is_unsure = True
            return False
        self._bodies.add(part.raw)
        self.count += 1
        return True

    def _begin(self, event_id: str, at: tuple[int, ...]) -> None:
        self._before, self.id, self._order = self.id or BEGINNING, event_id, at
        self.count = self._in_pass = 0
        self._is_settled = not self._is_joined
        self._bodies.clear()
