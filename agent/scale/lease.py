"""A worker that was frozen or cut off for too long stops when its run was given to another one.

Aegra gives a run to another worker when its lease has expired. The first worker learns of it with
its next heartbeat; events or checkpoints that it writes until then would mix with the other's. So
each worker claims a run under a unique name, an event is written only while the run is known to be
claimed under it, and a checkpoint, or the run's end, in one transaction with a check of the claim
(`guard.sql`). The leases of all runs of a process are extended together.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar, cast

import psycopg
import structlog
from aegra_api.core import database
from aegra_api.core.orm import Run, get_session_maker
from aegra_api.services import run_executor, worker_executor
from aegra_api.services.worker_executor import WorkerExecutor
from aegra_api.settings import settings
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from sqlalchemy import select, update

from agent.scale import run_rows
from agent.scale.patience import patiently

log = structlog.stdlib.get_logger(__name__)

KNOWN_SECONDS = 2.0  # how long a check holds for events: far less than a lease
_SURE = 2 / 3  # of its time a lease is relied on: other machines' clocks differ
GONE = "SY410"  # the SQLSTATE that guard.sql raises
_HOLD = "SELECT steady_hold_run(%s, %s)"

T = TypeVar("T")

# The id of the run that the task executes, and the name under which it was claimed.
claim: ContextVar[tuple[str, str] | None] = ContextVar("claim", default=None)
_reading: ContextVar[Any] = ContextVar("reading", default=None)  # the cursor of all its reads
_sure: dict[str, float] = {}  # by that name: until when the run is known to be claimed under it
_jobs: dict[str, tuple[str, asyncio.Task[None] | None]] = {}  # the run, and its task
_read: dict[str, tuple[tuple[str, str], CheckpointTuple | None]] = {}  # what each has just read


async def still_ours() -> None:
    """Ends the task, as a lost lease does, if the run is no longer claimed under its name."""
    if (ours := claim.get()) is None:
        return
    run_id, name = ours
    now = time.monotonic()
    if now < _sure.get(name, now):
        return
    if await patiently(lambda: _owner_now(run_id)) != name:
        leave(run_id)
    _sure[name] = now + KNOWN_SECONDS


def _note_lease(name: str, began: float) -> None:
    """The run's lease was asked for at this time, or later."""
    _sure[name] = began + _SURE * settings.worker.LEASE_DURATION_SECONDS


def leave(run_id: str) -> NoReturn:
    """Ends the task that executes the run, as another worker continues it."""
    run_executor._lease_loss_cancellations.add(run_id)
    raise asyncio.CancelledError


async def _owner_now(run_id: str) -> str | None:
    async with get_session_maker()() as session:
        owner = await session.scalar(select(Run.claimed_by).where(Run.run_id == run_id))
    return cast(str | None, owner)


def is_given_up(run_id: str) -> bool:
    """Whether this worker's task ends because another worker continues the run."""
    return run_id in run_executor._lease_loss_cancellations | run_executor._shutdown_cancellations


async def _keep_lease(
    run_id: str, worker_name: str, *, job_task: asyncio.Task[None] | None = None
) -> None:
    """Has the run's lease extended until the task of this call is cancelled."""
    _jobs[worker_name] = run_id, job_task
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        del _jobs[worker_name]


@asynccontextmanager
async def extended() -> AsyncIterator[None]:
    """Extends the leases of this process's runs while the context is open."""
    heartbeat = asyncio.create_task(_extend_leases())
    try:
        yield
    finally:
        heartbeat.cancel()


async def _extend_leases() -> None:
    while True:
        await asyncio.sleep(settings.worker.HEARTBEAT_INTERVAL_SECONDS)
        jobs, began = dict(_jobs), time.monotonic()
        try:
            names = await _extended(jobs) if jobs else set()
        except Exception as error:
            await log.awarning(f"The leases of {len(jobs)} runs were not extended: {error}")
            continue
        for name in jobs.keys() & _jobs.keys():
            run_id, task = jobs[name]
            if name in names:
                _note_lease(name, began)
            elif task is not None and not task.done():
                run_executor._lease_loss_cancellations.add(run_id)
                task.cancel()


async def _extended(jobs: Mapping[str, tuple[str, Any]]) -> set[str]:
    """The names whose runs are still theirs, once their leases are extended."""
    until = datetime.now(UTC) + timedelta(seconds=settings.worker.LEASE_DURATION_SECONDS)
    run_ids = [run_id for run_id, _ in jobs.values()]
    statement = update(Run).where(Run.run_id.in_(run_ids), Run.claimed_by.in_(jobs))
    async with get_session_maker()() as session:
        extended = await session.execute(
            statement.values(lease_expires_at=until).returning(Run.claimed_by)
        )
        names = {str(name) for name in extended.scalars()}
        await session.commit()
    return names


class LeasedSaver(AsyncPostgresSaver):
    """LangGraph's PostgreSQL checkpointer, for the worker that holds a run's lease; it retries.

    Its own lock is for a single connection: with a pool, a run that waits would hold up all others.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.lock: Any = nullcontext()

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
        """A run reads its thread twice before it writes: the second time it is known."""
        get, place, ours = super().aget_tuple, config["configurable"], claim.get()
        if ours is None or place.get("checkpoint_id"):
            return await patiently(lambda: get(config))
        latest = (place["thread_id"], place.get("checkpoint_ns", ""))
        known, found = _read.pop(ours[1], (None, None))
        if known != latest:
            found = await patiently(lambda: get(config))
            _read[ours[1]] = latest, found
        return found

    async def aget_delta_channel_history(self, **options: Any) -> Any:
        """What LangGraph reads one after the other is one transaction here."""
        get, pipeline = super().aget_delta_channel_history, super()._cursor

        async def read() -> Any:
            async with pipeline(pipeline=True) as cursor:
                outer = _reading.set(cursor)
                try:
                    return await get(**options)
                finally:
                    _reading.reset(outer)

        return await patiently(read)

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[Any]:
        """A pipeline is one transaction, whose last statement checks the claim."""
        if cursor := _reading.get():
            yield cursor
            return
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor
            if pipeline and (ours := claim.get()):
                await cursor.execute(_HOLD, ours)


async def _written(put: Callable[[], Awaitable[T]]) -> T:
    if ours := claim.get():
        _read.pop(ours[1], None)
    try:
        return await patiently(put)
    except psycopg.DatabaseError as error:
        if error.sqlstate == GONE and ours:
            leave(ours[0])
        raise


def apply() -> None:
    """Has Aegra use this checkpointer, and claim each run under a unique name."""
    database.AsyncPostgresSaver = LeasedSaver
    worker_executor._heartbeat_loop = _keep_lease
    execute = WorkerExecutor._execute_with_lease

    async def execute_under_a_name(self: Any, run_id: str, worker_name: str) -> None:
        name = f"{worker_name}-{uuid.uuid4().hex}"
        claim.set((run_id, name))  # each run has its own task
        _note_lease(name, time.monotonic())
        try:
            await execute(self, run_id, name)
        finally:
            _sure.pop(name, None)
            _read.pop(name, None)

    WorkerExecutor._execute_with_lease = execute_under_a_name

    async def has_started(run_id: str, **kwargs: Any) -> bool:
        """The claim has started the run; a second statement could start one that was lost since."""
        return True

    async def end_if_ours(run_id: str, thread_id: str, **told: Any) -> bool:
        """The check of the claim and the run's end are one statement."""
        ours = claim.get()
        name = ours and ours[1]
        try:
            return await patiently(lambda: run_rows.end(run_id, thread_id, name, **told))
        except psycopg.DatabaseError as error:
            if error.sqlstate == GONE:
                leave(run_id)
            raise

    run_executor.start_run, run_executor.finalize_run = has_started, end_if_ours

    async def keep_claim(run_id: str, name: str) -> None:
        """Of a run that has ended it hinders nobody; one that has not is found by its lease."""

    worker_executor._release_lease = keep_claim
