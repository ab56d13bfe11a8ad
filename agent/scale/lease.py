"""A worker that was away too long, frozen or cut off, finds that its run is another's, and leaves.

Aegra gives a run to another worker when the lease has passed. The first one learns of it with its
next heartbeat; what it would write until then, events or checkpoints, would mix with the other's.
So what is written for a run is written only while the run is known to be ours.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aegra_api.core import database
from aegra_api.core.active_runs import active_runs
from aegra_api.core.orm import Run, get_session_maker
from aegra_api.services import run_executor
from aegra_api.services.executor import executor
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from sqlalchemy import select

KNOWN_SECONDS = 2.0  # how long an answer holds: far less than a lease

_known: dict[str, float] = {}


async def still_ours(run_id: str) -> None:
    """Ends the task, as losing the lease does, if the run is not this process's to carry out."""
    if run_id not in active_runs:
        return
    now = time.monotonic()
    if now - _known.get(run_id, -KNOWN_SECONDS) < KNOWN_SECONDS:
        return
    async with get_session_maker()() as session:
        owner = await session.scalar(select(Run.claimed_by).where(Run.run_id == run_id))
    if not str(owner).startswith(f"{executor._instance_id}-"):
        run_executor._lease_loss_cancellations.add(run_id)
        raise asyncio.CancelledError
    for done in _known.keys() - active_runs.keys():
        del _known[done]
    _known[run_id] = now


def is_given_up(run_id: str) -> bool:
    """Whether this worker's task ends because another goes on with the run."""
    return run_id in run_executor._lease_loss_cancellations | run_executor._shutdown_cancellations


class LeasedSaver(AsyncPostgresSaver):
    """LangGraph's PostgreSQL checkpointer, for the worker that holds the run's lease."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        await still_ours(str(metadata.get("run_id")))
        return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await still_ours(str(config["configurable"].get("run_id")))
        await super().aput_writes(config, writes, task_id, task_path)


def apply() -> None:
    """Has Aegra keep its checkpoints with this."""
    database.AsyncPostgresSaver = LeasedSaver
