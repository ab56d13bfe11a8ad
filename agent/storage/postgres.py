"""Threads and the store in PostgreSQL, by LangGraph's own classes, in place of the SQLite file."""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.store.postgres.aio import AsyncPostgresStore
from psycopg import AsyncConnection, AsyncCursor, OperationalError, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from agent.storage.quota import LimitedStore
from agent.storage.serializer import serializer

Pool = AsyncConnectionPool[AsyncConnection[DictRow]]

_MOST_CONNECTIONS = 20
_WAIT_SECONDS = 30.0  # for a free connection, and so for a database that restarts
_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
_DELETED = (
    "CREATE TABLE IF NOT EXISTS deleted_threads (thread_id text PRIMARY KEY, at double precision)"
)


class ThreadDatabase(AsyncPostgresSaver):
    """With copies of threads, and runs that are rolled back."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool, serde=serializer())
        self._pool = pool

    async def setup(self) -> None:
        await super().setup()
        async with self._work() as cursor:
            await cursor.execute(_DELETED)

    async def adelete_thread(self, thread_id: str) -> None:
        """Deletes the thread, and notes that it was deleted: the server's list may not know yet."""
        note = (
            "INSERT INTO deleted_threads VALUES (%s, %s)"
            " ON CONFLICT (thread_id) DO UPDATE SET at = excluded.at"
        )
        async with self._work() as cursor:
            await cursor.execute(note, (str(thread_id), time.time()))
            for table in _TABLES:
                await cursor.execute(f"DELETE FROM {table} WHERE thread_id = %s", (str(thread_id),))  # noqa: S608

    async def deleted_threads(self) -> dict[str, float]:
        """When each thread that is noted was deleted, in seconds since 1970, by its id."""
        async with self._work() as cursor:
            await cursor.execute("SELECT thread_id, at FROM deleted_threads")
            return {row["thread_id"]: row["at"] async for row in cursor}

    async def forget_deleted(self, thread_ids: Iterable[str]) -> None:
        """Removes these notes."""
        remove = "DELETE FROM deleted_threads WHERE thread_id = ANY(%s)"
        async with self._work() as cursor:
            await cursor.execute(remove, (list(thread_ids),))

    async def adelete_for_runs(self, run_ids: Iterable[str]) -> None:
        """Deletes what these runs have added to their threads."""
        runs = list(map(str, run_ids))
        async with self._work() as cursor:
            await cursor.execute(
                "DELETE FROM checkpoint_writes w USING checkpoints c WHERE"
                " (w.thread_id, w.checkpoint_ns, w.checkpoint_id)"
                " = (c.thread_id, c.checkpoint_ns, c.checkpoint_id)"
                " AND c.metadata->>'run_id' = ANY(%s)",
                (runs,),
            )
            await cursor.execute(
                "DELETE FROM checkpoints WHERE metadata->>'run_id' = ANY(%s)", (runs,)
            )

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copies all of a thread's checkpoints to another one."""
        async with self._work() as cursor:
            for table in _TABLES:
                await cursor.execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608
                columns = [column.name for column in cursor.description or ()]
                taken = [sql.Identifier(c) if c != "thread_id" else sql.SQL("%s") for c in columns]
                await cursor.execute(
                    sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE thread_id = %s").format(
                        sql.Identifier(table),
                        sql.SQL(", ").join(map(sql.Identifier, columns)),
                        sql.SQL(", ").join(taken),
                        sql.Identifier(table),
                    ),
                    (target_thread_id, source_thread_id),
                )

    async def threads(self) -> dict[str, dict[str, Any]]:
        """The metadata of each thread's latest checkpoint that a run wrote, by the thread's id."""
        latest = (
            "SELECT DISTINCT ON (thread_id) thread_id, metadata FROM checkpoints"
            " WHERE checkpoint_ns = '' AND metadata->>'source' IN ('input', 'loop')"
            " ORDER BY thread_id, checkpoint_id DESC"
        )
        async with self._work() as cursor:
            await cursor.execute(latest)
            return {row["thread_id"]: row["metadata"] or {} async for row in cursor}

    @asynccontextmanager
    async def _work(self) -> AsyncIterator[AsyncCursor[DictRow]]:
        async with (
            self._pool.connection() as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            yield cursor


class StoreDatabase(LimitedStore, AsyncPostgresStore):
    """LangGraph's PostgreSQL store, with quotas."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self._pool = pool

    async def usage_without(self, namespace: tuple[str, ...], key: str) -> tuple[int, int]:
        """Items and bytes under the namespace's first part, this item aside."""
        query = (
            "SELECT count(*) AS items, coalesce(sum(octet_length(value::text)), 0) AS bytes"
            " FROM store WHERE (prefix = %s OR starts_with(prefix, %s))"
            " AND NOT (prefix = %s AND key = %s)"
        )
        user = namespace[0]
        arguments = (user, f"{user}.", ".".join(namespace), key)
        async with self._pool.connection() as connection:
            row = await (await connection.execute(query, arguments)).fetchone()
        return (int(row["items"]), int(row["bytes"])) if row else (0, 0)


@asynccontextmanager
async def database(uri: str, wait_seconds: float = _WAIT_SECONDS) -> AsyncIterator[ThreadDatabase]:
    """The checkpointer on the PostgreSQL at `uri`; its tables are made where they are missing.

    Raises RuntimeError with the database's own words if it gives no connection in `wait_seconds`.
    """
    async with _open_pool(uri, wait_seconds) as pool:
        saver = ThreadDatabase(pool)
        await saver.setup()
        yield saver


@asynccontextmanager
async def store_database(uri: str) -> AsyncIterator[StoreDatabase]:
    """The store on the PostgreSQL at `uri`; its tables are made where they are missing."""
    async with _open_pool(uri, _WAIT_SECONDS) as pool:
        opened = StoreDatabase(pool)
        await opened.setup()
        yield opened


@asynccontextmanager
async def _open_pool(uri: str, wait_seconds: float) -> AsyncIterator[Pool]:
    pool: Pool = AsyncConnectionPool(
        uri,
        max_size=_MOST_CONNECTIONS,
        timeout=wait_seconds,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
        check=AsyncConnectionPool.check_connection,
        open=False,
    )
    async with pool:
        try:
            async with pool.connection():
                pass
        except PoolTimeout:
            raise RuntimeError(
                "The database that STEADY_POSTGRES_URI names cannot be used: check its address, "
                f"name, user and password. {await _refusal(uri)}"
            ) from None
        yield pool


async def _refusal(uri: str) -> str:
    """What the database, or the way to it, says to one more connection; without the password."""
    try:
        async with await AsyncConnection.connect(uri):
            return "Now it answers: start again."
    except OperationalError as error:
        return f"It says: {error}"
