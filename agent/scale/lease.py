"""A worker that was away too long, frozen or cut off, finds that its run is another's, and leaves.

Aegra gives a run to another worker when the lease has passed. The first one learns of it with its
next heartbeat; what it would write until then, events or checkpoints, would mix with the other's.
So what is written for a run is written only while the run is known to be ours.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NoReturn, cast

from aegra_api.core import database
from aegra_api.core.active_runs import active_runs
from aegra_api.core.orm import Run, get_session_maker
from aegra_api.services import run_executor
from aegra_api.services.executor import executor
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

KNOWN_SECONDS = 2.0  # how long an answer holds: far less than a lease

CONNECTION_SECONDS = 5.0  # how long a free one is waited for

_known: dict[str, float] = {}


async def still_ours(run_id: str) -> None:
    """Ends the task, as losing the lease does, if the run is not this process's to carry out."""
    if run_id not in active_runs:
        return
    now = time.monotonic()
    if now - _known.get(run_id, -KNOWN_SECONDS) < KNOWN_SECONDS:
        return
    owner = await patiently(lambda: _owner(run_id))
    if not str(owner).startswith(f"{executor._instance_id}-"):
        leave(run_id)
    for done in _known.keys() - active_runs.keys():
        del _known[done]
    _known[run_id] = now


def leave(run_id: str) -> NoReturn:
    """Ends the task that carries out the run; what it was doing is another's now."""
    run_executor._lease_loss_cancellations.add(run_id)
    raise asyncio.CancelledError


async def _owner(run_id: str) -> str | None:
    async with get_session_maker()() as session:
        return cast(
            str | None, await session.scalar(select(Run.claimed_by).where(Run.run_id == run_id))
        )


def is_given_up(run_id: str) -> bool:
    """Whether this worker's task ends because another goes on with the run."""
    return run_id in run_executor._lease_loss_cancellations | run_executor._shutdown_cancellations


class LeasedSaver(AsyncPostgresSaver):
    """LangGraph's PostgreSQL checkpointer, for the worker that holds the run's lease; patient."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        await still_ours(str(metadata.get("run_id")))
        put = super().aput
        return await patiently(lambda: put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await still_ours(str(config["configurable"].get("run_id")))
        put = super().aput_writes
        await patiently(lambda: put(config, writes, task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        get = super().aget_tuple
        return await patiently(lambda: get(config))


class Pool(AsyncConnectionPool[Any]):
    """Asks anew soon: one who waits while the database restarts may be forgotten by the pool."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"timeout": CONNECTION_SECONDS, **options})


def apply() -> None:
    """Has Aegra keep its checkpoints with these."""
    database.AsyncPostgresSaver = LeasedSaver
    database.AsyncConnectionPool = Pool
