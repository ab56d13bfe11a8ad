"""Connections to PostgreSQL: one that was used a moment ago is not asked first whether it works.

Aegra asks before each use, which costs as much as the use itself. A call that meets a connection
that broke in that moment is retried, or its request answered with 503. Statements are prepared once
a connection, which Aegra does without for poolers that change the connection of a session: with
those `guard` would not hear of the runs that wait.
"""

import time
from collections.abc import Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import psycopg
from aegra_api.core import database
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

TRUSTED_SECONDS = 2.0  # since its last use
CONNECTION_SECONDS = 5.0  # the wait for a free one


class Pool(AsyncConnectionPool[Any]):
    """With a short timeout: a caller who waits while the database restarts may wait for ever."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._used: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        options = {"timeout": CONNECTION_SECONDS, **options}
        options["kwargs"] = {**(options.get("kwargs") or {}), "prepare_threshold": 0}
        if options.get("check"):
            options["check"] = self._check_if_idle
        super().__init__(*args, **options)

    async def putconn(self, conn: Any) -> None:
        self._used[conn] = time.monotonic()
        await super().putconn(conn)

    async def _check_if_idle(self, conn: Any) -> None:
        if not _is_idle(self._used.get(conn)):
            return
        try:
            await self.check_connection(conn)
        except psycopg.Error:
            await self.check()  # all: the pool would wait a second longer for each that is broken
            raise


async def one_row(statement: str, parameters: Sequence[Any]) -> dict[str, Any] | None:
    """What one statement, in a transaction of its own, returns; None if that is nothing.

    It is executed again if its connection breaks: it has to be one that may be.
    """
    pool = database.db_manager.lg_pool
    assert isinstance(pool, Pool)  # noqa: S101 - Aegra has connected before it serves
    try:
        return await _row(pool, statement, parameters)
    except psycopg.OperationalError:
        await pool.check()
        return await _row(pool, statement, parameters)


async def _row(pool: Pool, statement: str, parameters: Sequence[Any]) -> dict[str, Any] | None:
    async with pool.connection() as connection:
        row = await (await connection.execute(statement, parameters)).fetchone()
    return cast(dict[str, Any] | None, row)


def engine(url: str, **options: Any) -> AsyncEngine:
    """SQLAlchemy's engine, with connections such as those of the pool."""
    connect_args = {**(options.get("connect_args") or {})}
    connect_args.pop("prepared_statement_cache_size", None)
    options = {**options, "pool_pre_ping": False, "connect_args": connect_args}
    made = create_async_engine(url, **options)

    @event.listens_for(made.sync_engine, "checkin")
    def note_use(_: Any, record: Any) -> None:
        record.info["used"] = time.monotonic()

    @event.listens_for(made.sync_engine, "checkout")
    def check_if_idle(connection: Any, record: Any, _: Any) -> None:
        if "used" not in record.info or not _is_idle(record.info["used"]):
            return
        try:
            made.dialect.do_ping(connection)
        except Exception as error:
            raise InvalidatePoolError from error

    return made


def _is_idle(used: float | None) -> bool:
    return used is None or time.monotonic() - used > TRUSTED_SECONDS


def apply() -> None:
    """Has Aegra connect so."""
    database.AsyncConnectionPool = Pool
    database.create_async_engine = engine
