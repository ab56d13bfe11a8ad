"""One run of a thread at a time, in the order in which they were asked for, over all processes.

Aegra runs whatever is asked for at once, and two runs of a thread lose each other's messages. The
database decides, where all processes meet (`guard.sql`): a run that asks not to wait is refused
where another is active; a worker cannot begin one while an earlier one is; and when one ends, the
next is put back into the queue. Where nobody hears that, Aegra's reaper finds it seconds later.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files

import psycopg
import structlog
from aegra_api.core.redis_manager import redis_manager
from aegra_api.settings import settings
from fastapi import Request
from fastapi.responses import JSONResponse
from redis import RedisError
from sqlalchemy.exc import DBAPIError

log = structlog.stdlib.get_logger(__name__)

BUSY, UNDO = "SY409", "SY422"  # the SQLSTATEs that guard.sql raises
_START = 7_305_914  # any number that no other advisory lock has
_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.2


async def refused(request: Request, error: DBAPIError) -> JSONResponse:
    """The answer to a request that the database did not take."""
    state = getattr(error.orig, "sqlstate", None)
    if state == BUSY:
        return JSONResponse({"detail": "The thread is busy with another run."}, 409)
    if state == UNDO:
        return cannot_undo()
    await log.aerror(f"The database failed a request: {type(error.orig).__name__} ({state})")
    again = {"Retry-After": "1"}
    return JSONResponse({"detail": "The storage did not take it: try again."}, 503, again)


def cannot_undo() -> JSONResponse:
    """The answer to whoever asks for `rollback`, which Aegra does not have."""
    told = "This server cannot undo a run: `interrupt` stops it and keeps what it said."
    return JSONResponse({"detail": told}, 422)


@contextlib.asynccontextmanager
async def turn_to_start() -> AsyncIterator[None]:
    """Of processes that start at once, one at a time: each sets up what is not there yet.

    It asks again and again: a statement that waits for the lock would hold up the very migrations
    that it waits for, which build indexes concurrently.
    """
    async with await _connect() as connection:
        while True:
            found = await connection.execute("SELECT pg_try_advisory_lock(%s)", (_START,))
            if await found.fetchone() == (True,):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        yield  # the lock goes with the connection


@contextlib.asynccontextmanager
async def watch() -> AsyncIterator[None]:
    """Installs the guard, and puts a thread's next run into the queue while the context is open."""
    async with await _connect() as connection:
        await connection.execute((files("agent.scale") / "guard.sql").read_bytes())
    listening = asyncio.create_task(_listen())
    try:
        yield
    finally:
        listening.cancel()


async def _connect() -> psycopg.AsyncConnection:
    url = settings.db.database_url_sync
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


async def _listen() -> None:
    while True:
        try:
            async with await _connect() as connection:
                await connection.execute("LISTEN steady_runs")
                async for notice in connection.notifies():
                    queue = settings.worker.WORKER_QUEUE_KEY
                    await redis_manager.get_client().rpush(queue, notice.payload)
        except (psycopg.Error, RedisError) as error:
            await log.awarning(f"Waiting runs are left to the reaper for a moment: {error}")
        await asyncio.sleep(_AGAIN_SECONDS)
