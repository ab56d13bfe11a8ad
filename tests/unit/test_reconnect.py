"""Where a cut stream goes on, and how long the client waits: the pure half of the resume."""

from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.delivery.cursor import Cursor
from client.delivery.position import Position
from client.delivery.wire import Part
from client.errors import (
    CannotConnect,
    Conflict,
    ConnectionLost,
    NotFound,
    Unauthorized,
    Unavailable,
)
from client.reconnect import (
    FIRST_DELAY_SECONDS,
    LONGEST_DELAY_SECONDS,
    delays,
    is_transient,
)

STORED = frozenset({"messages"})


@st.composite
def stored_parts(draw: st.DrawFn) -> list[Part]:
    """What a server keeps of a run: few texts, many parts of one millisecond."""
    gaps = draw(st.lists(st.sampled_from([0, 0, 1, 1, 2]), min_size=1, max_size=40))
    texts = draw(st.lists(st.sampled_from([b'"a"', b'"b"']), min_size=len(gaps), max_size=40))
    parts, at = list[Part](), 1000
    for gap, raw in zip(gaps, texts, strict=False):
        at += gap
        parts.append(Part("messages", raw, f"{at}-0"))
    return parts


class Server:
    """The in-memory server's replay: it puts parts of its own accord while a join is read.

    A join repeats what is put between its beginning and the end of its replay. Time goes on between
    two requests, so that what a reader has seen is never of the millisecond of its next join.
    """

    def __init__(self, parts: list[Part], data: st.DataObject) -> None:
        self.parts, self._data, self._put = parts, data, 0

    def stream(self) -> Iterator[Part]:
        while self._put < len(self.parts):
            self._put += 1
            yield self.parts[self._put - 1]

    def join(self, last_event_id: str) -> Iterator[Part]:
        while 0 < self._put < len(self.parts) and self._id(self._put) == self._id(self._put - 1):
            self._put += 1
        subscribed = self._put
        self._put = self._data.draw(st.integers(self._put, len(self.parts)))
        yield from [part for part in self.parts[: self._put] if str(part.id) > last_event_id]
        if self._put < len(self.parts):  # of a run that has ended, nothing follows the replay
            self._put = len(self.parts)
            yield from self.parts[subscribed:]

    def _id(self, index: int) -> str | None:
        return self.parts[index].id


@settings(max_examples=500)
@given(stored_parts(), st.lists(st.integers(0, 12), max_size=12), st.data())
def test_every_part_is_taken_once_over_any_cuts(
    parts: list[Part], cuts: list[int], data: st.DataObject
) -> None:
    """However often it is cut, the parts that are taken are the run's, each once and in order."""
    server, position = Server(parts, data), Position(STORED)
    connection, taken = server.stream(), list[Part]()
    for longest in [*cuts, *[10 * len(parts)] * len(parts)]:
        for part in islice(connection, longest):
            taken += [part] if position.take(part) else []
            if position.is_unsure:
                break
        connection = server.join(position.rejoin())
    assert taken == parts


@given(stored_parts(), st.integers(0, 40))
def test_a_finished_run_replays_to_where_the_reader_was(parts: list[Part], read: int) -> None:
    """A join after the end shows that nothing is missing by passing the reader's position."""
    position = Position(STORED)
    for part in parts[:read]:
        assert position.take(part)
    rest: list[Part] = []
    for _ in parts:
        before = position.rejoin()
        rest += [part for part in parts if str(part.id) > before and position.take(part)]
        if not position.is_unsure:
            break
    assert rest == parts[read:]
    assert position.is_reached


def test_parts_that_are_not_kept_count_for_nothing() -> None:
    """An error part, which is never replayed, passes and leaves the position as it was."""
    position = Position(STORED)
    assert position.take(Part("messages", b"1", "5-0"))
    assert position.take(Part("error", b"{}", "5-0"))
    assert position.take(Part("messages", b"2", None))
    assert position.cursor == Cursor("5-0", 1, 0)


def test_ids_may_go_backwards_before_any_cut() -> None:
    """Before the first cut nothing is repeated, so a clock that is set back loses nothing."""
    position = Position(STORED)
    assert all(position.take(Part("messages", b"x", f"{at}-0")) for at in (5, 4, 6))


@given(st.floats(0.01, 120.0))
def test_delays_grow_and_end(limit_seconds: float) -> None:
    """Delays double up to a cap, each less a part at random, and fill the limit to its end."""
    waits: list[float] = []
    for delay in delays(limit_seconds, lambda: sum(waits)):
        waits.append(delay)
    assert sum(waits) == pytest.approx(limit_seconds)
    waits = [delay for delay in waits if delay > 1e-9]  # the clock's own rounding may be waited for
    *whole, last = waits  # the last is cut to what is left
    steps = [min(FIRST_DELAY_SECONDS * 2**n, LONGEST_DELAY_SECONDS) for n in range(len(waits))]
    assert all(step / 2 <= delay <= step for delay, step in zip(whole, steps, strict=False))
    assert 0 < last <= steps[-1]


def test_delays_differ() -> None:
    """Clients that a server dropped together do not come back together."""
    clock = iter(range(1000))
    assert len({next(delays(1000.0, lambda: next(clock))) for _ in range(50)}) > 40


def test_no_time_no_delay() -> None:
    """A limit that has passed gives no try at all."""
    assert list(delays(0.0)) == []


def test_what_is_transient() -> None:
    """A server that is away or busy may come back; one that says no says so again."""
    assert all(is_transient(kind("x")) for kind in (CannotConnect, ConnectionLost, Unavailable))
    assert not any(is_transient(kind("x")) for kind in (NotFound, Conflict, Unauthorized))


@given(st.integers(0, 10**13), st.integers(1, 99), st.integers(1, 9))
def test_a_cursor_outlives_its_reader(at: int, count: int, event: int) -> None:
    """Written and read again it is the same place, and it covers just what is not after it."""
    cursor = Cursor(f"{at}-0", count, event)
    assert Cursor.parse(str(cursor)) == cursor
    assert cursor.covers(cursor)
    assert not cursor.covers(Cursor(f"{at}-0", count, event + 1))
    assert not cursor.covers(Cursor(f"{at + 1}-0", 1, 1))
    assert Cursor.parse(f"{at}-0").covers(cursor)
    assert str(Cursor.parse(f"{at}-0")) == f"{at}-0"
