"""The connection to SQLite goes to its thread seldom, and does what aiosqlite's does."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from langgraph.checkpoint.base import empty_checkpoint

from agent.storage.checkpointer import ThreadFile
from agent.storage.sqlite_connection import SqliteConnection

_INSERT, _COUNT = "INSERT INTO numbers VALUES (?)", "SELECT count(*) FROM numbers"


@pytest.fixture(params=["aiosqlite's", "ours"])
async def connection(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[aiosqlite.Connection]:
    """A connection to a database with one table."""
    path = tmp_path / "numbers.sqlite"
    made = SqliteConnection(path) if request.param == "ours" else aiosqlite.connect(path)
    async with made as opened:
        await opened.execute("CREATE TABLE numbers (number INTEGER NOT NULL)")
        yield opened


def count_elsewhere(tmp_path: Path) -> int:
    """How many rows another connection sees: those that are committed."""
    other = sqlite3.connect(tmp_path / "numbers.sqlite")
    try:
        return int(other.execute(_COUNT).fetchone()[0])
    finally:
        other.close()


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 200])
async def test_rows_come_in_every_way(connection: aiosqlite.Connection, rows: int) -> None:
    """One by one, all, the rest, some, and in a loop; after a query that was left, too."""
    await connection.executemany(_INSERT, ((number,) for number in range(rows)))
    wanted, query = [(number,) for number in range(rows)], "SELECT * FROM numbers ORDER BY number"
    async with connection.execute(query) as cursor:
        assert [row async for row in cursor] == wanted
    async with connection.cursor() as cursor:
        await cursor.execute(query)
        assert await cursor.fetchone() == (wanted[0] if rows else None)
        assert list(await cursor.fetchmany(10)) == wanted[1:11]
        assert list(await cursor.fetchall()) == wanted[11:]
        assert await cursor.fetchone() is None
        await cursor.execute(query)
        await cursor.execute(_COUNT)
        assert list(await cursor.fetchall()) == [(rows,)]
    async with connection.execute(query) as cursor:
        assert await cursor.fetchall() == wanted


async def test_a_change_is_seen_here_at_once_and_elsewhere_after_its_commit(
    connection: aiosqlite.Connection, tmp_path: Path
) -> None:
    """A query tells of changes before it; a rollback takes them back, a commit keeps them."""
    await connection.commit()
    for end, kept in ((connection.rollback, 0), (connection.commit, 1)):
        await connection.execute(_INSERT, (1,))
        async with connection.execute(_COUNT) as cursor:
            assert await cursor.fetchone() == (1,)
        assert count_elsewhere(tmp_path) == 0
        await end()
        assert count_elsewhere(tmp_path) == kept
    await connection.execute("DELETE FROM numbers")
    await connection.commit()
    assert count_elsewhere(tmp_path) == 0


async def test_a_change_that_fails_is_told_and_the_next_ones_are_done(
    connection: aiosqlite.Connection, tmp_path: Path
) -> None:
    """At the latest by its commit; and nothing of it is left."""

    async def insert_nothing() -> None:
        await connection.execute(_INSERT, (None,))
        await connection.commit()

    with pytest.raises(sqlite3.IntegrityError):
        await insert_nothing()
    await connection.execute(_INSERT, (1,))
    await connection.commit()
    assert count_elsewhere(tmp_path) == 1


async def test_a_statement_that_fails_is_told_at_once(connection: aiosqlite.Connection) -> None:
    """LangGraph adds a column, and goes on where that fails because it is there."""
    with pytest.raises(sqlite3.OperationalError, match="duplicate column"):
        await connection.execute("ALTER TABLE numbers ADD COLUMN number")


async def test_a_change_without_its_commit_is_not_kept(tmp_path: Path) -> None:
    """As a connection that is closed in a transaction."""
    async with SqliteConnection(tmp_path / "numbers.sqlite") as connection:
        await connection.execute("CREATE TABLE numbers (number INTEGER)")
        await connection.execute(_INSERT, (1,))
    assert count_elsewhere(tmp_path) == 0


async def calls_for_a_step(made: aiosqlite.Connection) -> int:
    """How often a thread's checkpoint, one write and their reading go to the thread."""
    async with made as connection:
        saver = ThreadFile(connection)
        await saver.setup()
        execute, calls = aiosqlite.Connection._execute, list[Any]()

        async def count(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            return await execute(self, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(aiosqlite.Connection, "_execute", count)
            config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
            config = await saver.aput(config, empty_checkpoint(), {}, {})
            await saver.aput_writes(config, [("messages", "Hi")], "task")
            found = await saver.aget_tuple(config)
        assert found is not None
        assert found.pending_writes == [("task", "messages", "Hi")]
    return len(calls)


async def test_a_step_goes_to_the_thread_seldom(tmp_path: Path) -> None:
    """With aiosqlite's connection 13 times; with ours once for a write, and for a query."""
    assert await calls_for_a_step(aiosqlite.connect(tmp_path / "theirs.sqlite")) == 13
    assert await calls_for_a_step(SqliteConnection(tmp_path / "ours.sqlite")) == 4
