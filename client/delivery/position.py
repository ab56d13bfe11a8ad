"""Which of a run's parts have been read, over all the connections of one reader."""

from ..decoding.snapshot import CannotResume
from .cursor import Cursor, Origin, id_before, id_order
from .wire import Part

BEGINNING = "-1"


class Position:
    """Which of a run's parts have been read, over all the connections of one reader.

    Ids alone do not tell: the in-memory server gives all events of one millisecond the same id, and
    a joined stream replays what is stored and then repeats what was put while it replayed. So a
    join asks from before the last id, and skips as many events of that id as were read already. An
    id smaller than the last one marks where the repetition begins. If all that is repeated has one
    id, it looks like new events with the same content; then `is_unsure`, and the next join settles
    it: events from before a join are never repeated in it.

    Args:
        stored: the names of the parts that the server keeps for replay. Others, such as `error`,
            come once if at all, and are not counted here.
        origin: where another reader was. None, the default: the run's beginning.
    """

    def __init__(self, stored: frozenset[str], origin: Origin | None = None) -> None:
        self._stored = stored
        self._id: str | None = None
        self._count = 0  # parts of this id that were read
        self._count_now = 0  # parts of this id that the present connection has brought
        self._id_before = BEGINNING
        self._is_joined = False
        self._is_settled = True
        self._contents: set[bytes] = set()
        self.is_unsure = False
        self.is_found = origin is None  # whether the server still has what is at the origin
        if origin is not None:
            self._id, self._count = origin.id, origin.count
            self._id_before = id_before(origin.id) or BEGINNING

    @property
    def cursor(self) -> Cursor | None:
        """After the last part that was read; None where parts have no ids."""
        return Cursor(self._id, self._count, 0) if self._id is not None else None

    @property
    def is_reached(self) -> bool:
        """Whether the present connection has come to where the reader was."""
        return self._id is not None and self._count_now >= self._count

    def rejoin(self) -> str:
        """Begins the next connection. Returns the event id after which to ask for parts."""
        self._is_joined = self._is_settled = True
        self._count_now, self.is_unsure = 0, False
        return self._id_before

    @property
    def skip(self) -> str | None:
        """What the next connection need not bring: the parts of this id that were read."""
        return f"{self._count}/{self._id}" if self._count else None

    def note_skipped(self, count: int) -> None:
        """The present connection leaves out as many parts of this id."""
        self._count_now = count
        self._note_found()

    def is_counted(self, part: Part) -> bool:
        """Whether the part is one of those that the server keeps for replay."""
        return part.id is not None and part.name.partition("|")[0] in self._stored

    def take(self, part: Part) -> bool:
        """Whether the part is new; if it is, it counts as read."""
        if self.is_unsure:
            return False
        if part.id is None or not self.is_counted(part):
            return True
        if part.id != self._id:
            if self._is_joined and id_order(part.id) <= id_order(self._id or ""):
                self._count_now = 0
                return False
            if not self.is_found:
                raise CannotResume
            self._begin_id(part.id)
        self._count_now += 1
        self._note_found()
        if self._count_now <= self._count:
            return False
        if not self._is_settled and part.raw in self._contents:
            self.is_unsure = True
            return False
        self._contents.add(part.raw)
        self._count += 1
        return True

    def _note_found(self) -> None:
        self.is_found = self.is_found or self._count_now >= max(self._count, 1)

    def _begin_id(self, event_id: str) -> None:
        self._id_before, self._id = self._id or BEGINNING, event_id
        self._count = self._count_now = 0
        self._is_settled = not self._is_joined
        self._contents.clear()
