"""Knows when somebody waits for another's lock in PostgreSQL."""

import asyncio

import psycopg

_WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


async def until_one_waits(uri: str, limit_seconds: float = 20.0, count: int = 1) -> None:
    """Returns when so many statements wait. Raises TimeoutError."""
    async with (
        asyncio.timeout(limit_seconds),
        await psycopg.AsyncConnection.connect(uri, autocommit=True) as watching,
    ):
        while True:
            found = await watching.execute(_WAITING)
            if len(await found.fetchall()) >= count:
                return
            await asyncio.sleep(0.02)
