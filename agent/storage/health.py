"""Whether threads can be written now, and whether there is room for more of them."""

import asyncio
import shutil
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

from agent.settings import settings

_WAIT_SECONDS = 2.0


async def check_storage() -> None:
    """Raises where threads cannot be written: the file's or the database's own error."""
    if uri := settings().steady_postgres_uri:
        from psycopg import AsyncConnection  # not needed by those who have none

        address = uri.get_secret_value()
        async with await AsyncConnection.connect(
            address, autocommit=True, connect_timeout=2
        ) as connection:
            await connection.execute("SELECT 1")
        return
    await asyncio.to_thread(_check_file, settings().steady_threads_file)


def _check_file(path: Path) -> None:
    with closing(connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


async def check_disk() -> None:
    """Raises OSError where less than `STEADY_LEAST_FREE_DISK_BYTES` are free beside the threads."""
    await asyncio.to_thread(_check_room, settings().steady_threads_file.parent)


def _check_room(folder: Path) -> None:
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free_bytes = shutil.disk_usage(nearest).free
    if free_bytes < settings().steady_least_free_disk_bytes:
        raise OSError(f"{free_bytes} bytes are free in {folder}")
