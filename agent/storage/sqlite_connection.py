"""A connection to SQLite that goes to its thread once for what belongs together.

aiosqlite has a thread of its own make a cursor, execute a statement, fetch its rows, close the
cursor and commit, one after the other: fifty times there and back for a short run, which is more
than SQLite itself takes. Here a statement brings its first rows along, and one that changes rows
goes with the commit that follows.
"""

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import aiosqlite
from aiosqlite.context import contextmanager

_CHANGES = ("INSERT", "DELETE", "UPDATE")
_ROWS = 64  # that come with a statement


class SqliteConnection(aiosqlite.Connection):
    """aiosqlite's connection to the database at `path`.

    A statement that changes rows is executed by the next call to the thread, and before it, so an
    error of the one is raised by the other. It tells neither how many rows it has changed nor
    which.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(partial(sqlite3.connect, path), _ROWS)
        self._changes: list[Callable[[], Any]] = []

    @contextmanager
    async def cursor(self) -> aiosqlite.Cursor:
        return _Cursor(self)

    @contextmanager
    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> aiosqlite.Cursor:
        return await _Cursor(self).execute(sql, parameters)

    @contextmanager
    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> aiosqlite.Cursor:
        return await _Cursor(self).executemany(sql, parameters)

    def note_change(self, method: str, sql: str, parameters: Iterable[Any]) -> None:
        """Has a cursor's `method` called before whatever is done next."""
        self._changes.append(partial(_change, self._conn, method, sql, parameters))

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """aiosqlite does by this all that it does in its thread."""
        changes, self._changes = self._changes, []
        last = partial(fn, *args, **kwargs)
        return await super()._execute(_do_all, changes, last)  # type: ignore[no-untyped-call]


class _Cursor(aiosqlite.Cursor):
    """Has a cursor of SQLite for as long as there may be more rows than were brought along."""

    _conn: SqliteConnection
    _cursor: sqlite3.Cursor | None  # type: ignore[assignment]

    def __init__(self, conn: SqliteConnection) -> None:
        super().__init__(conn, cast(sqlite3.Cursor, None))
        self._rows: list[Any] = []

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        values = parameters or ()
        if _is_change(sql):
            self._conn.note_change("execute", sql, values)
        else:
            ask = partial(_ask, self._conn._conn, self._cursor, sql, values)
            self._cursor, self._rows = await self._conn._execute(ask)
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        self._conn.note_change("executemany", sql, list(parameters))
        return self

    async def fetchone(self) -> sqlite3.Row | None:
        return next(iter(await self.fetchmany(1)), None)

    async def fetchmany(self, size: int | None = None) -> list[sqlite3.Row]:
        size = size or self.iter_chunk_size
        if not self._rows and self._cursor is not None:
            self._rows = list(await super().fetchmany(size))
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    async def fetchall(self) -> list[sqlite3.Row]:
        rows, self._rows = self._rows, []
        return rows if self._cursor is None else [*rows, *await super().fetchall()]

    async def close(self) -> None:
        self._rows = []
        if self._cursor is not None:
            await super().close()
            self._cursor = None


def _is_change(sql: str) -> bool:
    return sql.lstrip().upper().startswith(_CHANGES)


# what is done in the thread; a cursor is closed there, too


def _do_all(changes: list[Callable[[], Any]], last: Callable[[], Any]) -> Any:
    for change in changes:
        change()
    return last()


def _change(connection: sqlite3.Connection, method: str, sql: str, values: Iterable[Any]) -> None:
    cursor = connection.cursor()
    try:
        getattr(cursor, method)(sql, values)
    finally:
        cursor.close()


def _ask(
    connection: sqlite3.Connection, before: sqlite3.Cursor | None, sql: str, values: Iterable[Any]
) -> tuple[sqlite3.Cursor | None, list[Any]]:
    """The statement's first rows, and the cursor that has the others, if there are any."""
    if before is not None:
        before.close()
    cursor = connection.execute(sql, cast(Any, values))
    rows = cursor.fetchmany(_ROWS)
    if len(rows) == _ROWS:
        return cursor, rows
    cursor.close()
    return None, rows
