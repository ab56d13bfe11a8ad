"""The server's store (memories, and what programs put there), beside the threads, written at once.

It lies in the SQLite file of the threads, or in the PostgreSQL that `STEADY_POSTGRES_URI` names, by
LangGraph's own stores for them. The in-memory server's store is a file that is written every ten
seconds: what it still holds is carried over when the server starts.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiosqlite
import structlog
from langgraph.store.base import PutOp, SearchItem
from langgraph.store.sqlite.aio import AsyncSqliteStore

from agent.settings import settings
from agent.storage import inmem_server
from agent.storage.checkpointer import PRAGMAS
from agent.storage.quota import LimitedStore

if TYPE_CHECKING:
    from agent.storage.postgres import StoreDatabase

log = structlog.stdlib.get_logger(__name__)

_PAGE = 500


class FileStore(LimitedStore, AsyncSqliteStore):
    """LangGraph's SQLite store, with quotas."""

    async def usage_without(self, namespace: tuple[str, ...], key: str) -> tuple[int, int]:
        """Items and bytes under the namespace's first part, this item aside."""
        query = (
            "SELECT count(*), coalesce(sum(length(CAST(value AS BLOB))), 0) FROM store"
            " WHERE (prefix = ? OR (prefix >= ? AND prefix < ?)) AND NOT (prefix = ? AND key = ?)"
        )
        user = namespace[0]  # a part has no dot, and '/' comes after the dot
        arguments = (user, f"{user}.", f"{user}/", ".".join(namespace), key)
        async with self.lock, self.conn.execute(query, arguments) as rows:
            row = await rows.fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)


@asynccontextmanager
async def store() -> AsyncIterator["FileStore | StoreDatabase"]:
    """The server's store, as `store.path` in langgraph.json names it."""
    if uri := settings().steady_postgres_uri:
        from agent.storage.postgres import store_database  # not needed by those who have none

        async with store_database(uri.get_secret_value()) as opened:
            yield opened
        return
    path = settings().steady_threads_file
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    async with aiosqlite.connect(path, isolation_level=None) as connection:
        await connection.executescript(PRAGMAS)
        opened_file = FileStore(connection)
        await opened_file.setup()
        yield opened_file


async def carry_over_items() -> int:
    """Moves what the in-memory server's own store holds into ours; returns how many items.

    To be called before the server serves: until then nothing can have been deleted here. Raises
    OtherServer.
    """
    own, file = inmem_server.own_store()
    items: list[SearchItem] = []
    while page := own.search((), limit=_PAGE, offset=len(items)):
        items += page
    if not items:
        return 0
    items.sort(key=lambda item: item.updated_at)
    async with store() as ours:
        for at in range(0, len(items), _PAGE):
            part = items[at : at + _PAGE]
            await ours.abatch([PutOp(item.namespace, item.key, item.value) for item in part])
    for item in items:
        own.delete(item.namespace, item.key)
    await asyncio.to_thread(_rename, file)
    await log.ainfo(f"{len(items)} items of the server's old store were carried over.")
    return len(items)


def _rename(file: Path) -> None:
    """A copy stays; under the old name it would be carried over again."""
    if file.exists():
        file.replace(file.with_name(f"{file.name}.carried-over"))
