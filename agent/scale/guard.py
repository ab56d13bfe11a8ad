"""One run of a thread at a time, in the order of their requests, over all processes.

Aegra starts every run at once, and two runs of one thread lose each other's messages. The database
decides, because all processes share it (`guard.sql`): a run with `multitask_strategy="reject"` is
refused while another is active; a worker cannot start a run before an earlier one has ended; and
when one ends, the next is put back into the queue. If that notice is lost, Aegra's reaper finds the
run seconds later.
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

log = structlog.stdlib.get_logger(__name__)

BUSY, UNDO, NOT_THERE = "SY409", "SY422", "SY404"  # the SQLSTATEs that guard.sql raises
_START = 7_305_914  # any number that no other advisory lock has
_AGAIN_SECONDS = 1.0
_LOOK_SECONDS = 0.2


async def refused(request: Request, error: Exception) -> JSONResponse:
    """The response to a request that the database refused: SQLAlchemy's error, or psycopg's own."""
    cause = getattr(error, "orig", error)
    state = getattr(cause, "sqlstate", None)
    if state == BUSY:
        return JSONResponse({"detail": "The thread is busy with another run."}, 409)
    if state == UNDO:
        return cannot_undo()
    if state == NOT_THERE:
        return JSONResponse({"detail": "The thread was not found."}, 404)
    await log.aerror(f"The database failed a request: {type(cause).__name__} ({state})")
    detail = {"detail": "The database did not store it: try again."}
    return JSONResponse(detail, 503, {"Retry-After": "1"})


def cannot_undo() -> JSONResponse:
    """The response to `rollback`, which Aegra does not have."""
    detail = "This server cannot undo a run: `interrupt` stops it and keeps its partial answer."
    return JSONResponse({"detail": detail}, 422)


@contextlib.asynccontextmanager
async def turn_to_start() -> AsyncIterator[None]:
    """Processes that start together set up the database one after the other.

    The lock is polled: a statement that waits for it would block the migrations of the process
    that holds it, which build indexes concurrently.
    """
    async with await _connect() as connection:
        while True:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (_START,))
            if await cursor.fetchone() == (True,):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        yield  # the lock ends with the connection


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
            await log.awarning(f"Waiting runs are left to Aegra's reaper for now: {error}")
        await asyncio.sleep(_AGAIN_SECONDS)
