"""A worker that was frozen or cut off for too long stops when its run was given to another one.

Aegra gives a run to another worker when its lease has expired. The first worker learns of it with
its next heartbeat; events or checkpoints that it writes until then would mix with the other's. So
each worker claims a run under a unique name, an event is written only while the run is known to be
claimed under it, and a checkpoint in one transaction with a check of the claim (`guard.sql`).
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar, cast

import psycopg
from aegra_api.core import database
from aegra_api.core.orm import Run, get_session_maker
from aegra_api.services import run_executor
from aegra_api.services.worker_executor import WorkerExecutor
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg_pool import AsyncConnectionPool
from sqlalchemy import select

from agent.scale.patience import patiently

KNOWN_SECONDS = 2.0  # how long a check holds for events: far less than a lease

CONNECTION_SECONDS = 5.0  # the wait for a free one
GONE = "SY410"  # the SQLSTATE that guard.sql raises
_HOLD = "SELECT steady_hold_run(%s, %s)"

T = TypeVar("T")

# The id of the run that the task executes, and the name under which it was claimed.
claim: ContextVar[tuple[str, str] | None] = ContextVar("claim", default=None)
_known: dict[str, float] = {}


async def still_ours() -> None:
    """Ends the task, as a lost lease does, if the run is no longer claimed under its name."""
    if (ours := claim.get()) is None:
        return
    run_id, name = ours
    now = time.monotonic()
    if now - _known.get(name, -KNOWN_SECONDS) < KNOWN_SECONDS:
        return
    if await patiently(lambda: _owner(run_id)) != name:
        leave(run_id)
    _known[name] = now


def leave(run_id: str) -> NoReturn:
    """Ends the task that executes the run, as another worker continues it."""
    run_executor._lease_loss_cancellations.add(run_id)
    raise asyncio.CancelledError


async def _owner(run_id: str) -> str | None:
    async with get_session_maker()() as session:
        return cast(
            str | None, await session.scalar(select(Run.claimed_by).where(Run.run_id == run_id))
        )


def is_given_up(run_id: str) -> bool:
    """Whether this worker's task ends because another worker continues the run."""
    return run_id in run_executor._lease_loss_cancellations | run_executor._shutdown_cancellations


class LeasedSaver(AsyncPostgresSaver):
    """LangGraph's PostgreSQL checkpointer, for the worker that holds a run's lease; it retries."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        put = super().aput
        return await _written(lambda: put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        put = super().aput_writes
        await _written(lambda: put(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        get = super().aget_tuple
        return await patiently(lambda: get(config))

    async def aget_delta_channel_history(self, **options: Any) -> Any:
        get = super().aget_delta_channel_history
        return await patiently(lambda: get(**options))

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[Any]:
        """A pipeline is one transaction, whose last statement checks the claim."""
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor
            if pipeline and (ours := claim.get()):
                await cursor.execute(_HOLD, ours)


async def _written(put: Callable[[], Awaitable[T]]) -> T:
    try:
        return await patiently(put)
    except psycopg.DatabaseError as error:
        if error.sqlstate == GONE and (ours := claim.get()):
            leave(ours[0])
        raise


class Pool(AsyncConnectionPool[Any]):
    """With a short timeout: a caller who waits while the database restarts may wait for ever."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"timeout": CONNECTION_SECONDS, **options})


def apply() -> None:
    """Has Aegra use this checkpointer and pool, and claim each run under a unique name."""
    database.AsyncPostgresSaver = LeasedSaver
    database.AsyncConnectionPool = Pool
    execute = WorkerExecutor._execute_with_lease
    start, finalize = run_executor.start_run, run_executor.finalize_run

    async def execute_under_a_name(self: Any, run_id: str, worker_name: str) -> None:
        name = f"{worker_name}-{uuid.uuid4().hex}"
        claim.set((run_id, name))  # each run has its own task
        try:
            await execute(self, run_id, name)
        finally:
            _known.pop(name, None)

    WorkerExecutor._execute_with_lease = execute_under_a_name

    async def start_patiently(run_id: str, **kwargs: Any) -> bool:
        return bool(await patiently(lambda: start(run_id, **kwargs)))

    async def finalize_if_ours(run_id: str, *args: Any, **kwargs: Any) -> bool:
        """A run's status is written by the worker that holds it, when the database is there."""

        async def write_status() -> bool:
            if (ours := claim.get()) and await _owner(run_id) != ours[1]:
                leave(run_id)
            return bool(await finalize(run_id, *args, **kwargs))

        return await patiently(write_status)

    run_executor.start_run, run_executor.finalize_run = start_patiently, finalize_if_ours
