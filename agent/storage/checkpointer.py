"""Where threads are kept, so that what has happened survives the server's death.

An SQLite file, unless `STEADY_POSTGRES_URI` names a database (agent.storage.postgres).

The server's own in-memory checkpointer writes its files every ten seconds. This one has written
each step before the next but one begins, and a run's last before its stream ends.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agent.settings import settings
from agent.storage.serializer import serializer
from agent.storage.sqlite_connection import SqliteConnection

if TYPE_CHECKING:
    from agent.storage.postgres import ThreadDatabase

# In WAL mode, NORMAL survives a killed process, and may lose the last steps with the power. The log
# never shrinks: at SQLite's default it would be a third of what 400 turns need.
PRAGMAS = (
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000;"
    "PRAGMA wal_autocheckpoint=500;"
)
_DELETED = "CREATE TABLE IF NOT EXISTS deleted_threads (thread_id TEXT PRIMARY KEY, at REAL);"


class ThreadFile(AsyncSqliteSaver):
    """LangGraph's SQLite checkpointer, with copies of threads and runs that are rolled back."""

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes the thread, and notes that it was deleted: the server's list may not know yet."""
        note = "INSERT OR REPLACE INTO deleted_threads VALUES (?, ?)"
        await self.setup()
        async with self.lock:
            await self.conn.execute(note, (str(thread_id), time.time()))
        await super().adelete_thread(thread_id)  # and commits both

    async def deleted_threads(self) -> dict[str, float]:
        """When each thread that is noted was deleted, in seconds since 1970, by its id."""
        query = "SELECT thread_id, at FROM deleted_threads"
        async with self.lock, self.conn.execute(query) as rows:
            return {row[0]: row[1] async for row in rows}

    async def forget_deleted(self, thread_ids: Iterable[str]) -> None:
        """Removes these notes."""
        remove = "DELETE FROM deleted_threads WHERE thread_id = ?"
        async with self.lock:
            await self.conn.executemany(remove, [(thread_id,) for thread_id in thread_ids])
            await self.conn.commit()

    async def adelete_for_runs(self, run_ids: Iterable[str]) -> None:
        """Deletes what these runs have added to their threads."""
        of_run = "json_extract(CAST(metadata AS TEXT), '$.run_id') = ?"
        keys = "thread_id, checkpoint_ns, checkpoint_id"
        await self.setup()
        async with self.lock:
            for run_id in map(str, run_ids):
                found = f"SELECT {keys} FROM checkpoints WHERE {of_run}"  # noqa: S608 - constants
                await self.conn.execute(
                    f"DELETE FROM writes WHERE ({keys}) IN ({found})",  # noqa: S608
                    (run_id,),
                )
                await self.conn.execute(f"DELETE FROM checkpoints WHERE {of_run}", (run_id,))  # noqa: S608
            await self.conn.commit()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all of a thread's checkpoints to another one."""
        await self.setup()
        async with self.lock:
            for table in ("checkpoints", "writes"):
                columns = await self._columns(table)
                listed = ", ".join(columns)
                taken = ", ".join("?" if name == "thread_id" else name for name in columns)
                await self.conn.execute(
                    f"INSERT INTO {table} ({listed}) SELECT {taken} FROM {table}"  # noqa: S608
                    " WHERE thread_id = ?",
                    (target_thread_id, source_thread_id),
                )
            await self.conn.commit()

    async def threads(self) -> dict[str, dict[str, Any]]:
        """The metadata of each thread's latest checkpoint that a run wrote, by the thread's id.

        What is in a run's, the server has put there. With a state that is edited through the API,
        anybody can send an owner; LangGraph itself writes the `source`.
        """
        await self.setup()
        latest = (
            "SELECT thread_id, metadata, max(checkpoint_id) FROM checkpoints"
            " WHERE checkpoint_ns = ''"
            " AND json_extract(CAST(metadata AS TEXT), '$.source') IN ('input', 'loop')"
            " GROUP BY thread_id"
        )
        async with self.lock, self.conn.execute(latest) as rows:
            return {row[0]: json.loads(row[1] or "{}") async for row in rows}

    async def _columns(self, table: str) -> list[str]:
        async with self.conn.execute(f"PRAGMA table_info({table})") as rows:
            return [row[1] async for row in rows]


@asynccontextmanager
async def checkpointer() -> AsyncIterator["ThreadFile | ThreadDatabase"]:
    """The server's checkpointer, as `checkpointer.path` in langgraph.json names it."""
    if uri := settings().steady_postgres_uri:
        from agent.storage.postgres import database  # not needed by those who have none

        async with database(uri.get_secret_value()) as saver:
            yield saver
        return
    path = settings().steady_threads_file
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    async with SqliteConnection(path) as connection:
        await connection.executescript(PRAGMAS + _DELETED)
        yield ThreadFile(connection, serde=serializer())
