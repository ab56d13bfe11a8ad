"""Calls of storage that is away for a moment, because it restarts, are retried."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
import psycopg_pool
import structlog
from redis import RedisError
from sqlalchemy.exc import DBAPIError

log = structlog.stdlib.get_logger(__name__)

PATIENCE_SECONDS = 60.0
_AWAY = (
    RedisError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg_pool.PoolTimeout,
    DBAPIError,
    OSError,
)

T = TypeVar("T")


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The result of `call`, retried while the storage is away: it may be executed twice."""
    end, delay = time.monotonic() + PATIENCE_SECONDS, 0.05
    while True:
        try:
            return await call()
        except _AWAY as error:
            if time.monotonic() > end:
                raise
            await log.awarning(f"The storage is away: {type(error).__name__}")
        await asyncio.sleep(delay)
        delay = min(2 * delay, 1.0)
