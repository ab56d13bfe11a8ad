"""One process of many: what it says of itself at `/ready` and `/metrics`, and how it stops.

A process that is told to stop takes no more runs from the queue. Its own may end within
`STEADY_SHUTDOWN_SECONDS`; Aegra then gives those that are left to another process, which goes on
from their last checkpoints.
"""

import time
from typing import Any

from aegra_api.core.database import db_manager
from aegra_api.core.orm import Run, Thread, get_session_maker
from aegra_api.core.redis_manager import redis_manager
from aegra_api.services import worker_executor
from aegra_api.services.executor import executor
from sqlalchemy import func, select, text

from agent.http import readiness, shutdown, waiting
from agent.telemetry.runs import REQUEST_START
from agent.telemetry.trace_context import keep_trace, run_context

_PRIVATE = ("_worker_tasks", "_job_tasks", "_running")  # of Aegra's executor
_NOTES = "steady"  # in a run's stored config: when it was asked for, and in which trace


def note_request(config: dict[str, Any]) -> None:
    """Notes in the config of a run that is created what the process that runs it has to know."""
    notes: dict[str, Any] = {REQUEST_START: int(time.time() * 1000)}
    keep_trace(notes)
    config[_NOTES] = notes


async def check_storage() -> None:
    """Raises where PostgreSQL does not answer."""
    async with db_manager.get_engine().connect() as connection:
        await connection.execute(text("SELECT 1"))


async def check_queue() -> None:
    """Raises where Redis does not answer, or where none of this process's workers is left."""
    await redis_manager.get_client().ping()
    if all(task.done() for task in executor_here()._worker_tasks):
        raise readiness.NotReady("No worker of this process is left.")


async def look() -> waiting.Waiting:
    """What waits in the storage that all processes share."""
    async with get_session_maker()() as session:
        interrupted = select(func.count()).select_from(Thread).where(Thread.status == "interrupted")
        pending = select(func.count()).select_from(Run).where(Run.status == "pending")
        approvals, runs = await session.scalar(interrupted), await session.scalar(pending)
    return {"approvals": int(approvals or 0), "runs": int(runs or 0)}


async def runs_here() -> int:
    """How many runs this process carries out now."""
    return len(executor_here()._job_tasks)


def take_no_more_jobs() -> None:
    """Leaves the queue to other processes; what a worker takes yet, Aegra puts back."""
    executor_here()._running = False


def executor_here() -> worker_executor.WorkerExecutor:
    """What carries out this process's runs."""
    assert isinstance(executor, worker_executor.WorkerExecutor)  # noqa: S101 - Redis is set
    return executor


def apply() -> None:
    """Has the routes and the shutdown ask here, and runs know when they were asked for."""
    if missing := [name for name in _PRIVATE if not hasattr(executor_here(), name)]:
        raise SystemExit(f"This Aegra's executor has no {', '.join(missing)}: it cannot stop.")
    readiness.checks.update(storage=check_storage, queue=check_queue)
    waiting.look = look
    shutdown.runs_here, shutdown.take_no_more_jobs = runs_here, take_no_more_jobs
    execute = worker_executor.execute_run

    async def execute_with_notes(job: Any) -> None:
        config = dict(job.execution.config)
        notes = config.pop(_NOTES, {})
        config["configurable"] = {**config.get("configurable", {}), **notes}
        execution = job.execution.model_copy(update={"config": config})
        with run_context(notes):
            await execute(job.model_copy(update={"execution": execution}))

    worker_executor.execute_run = execute_with_notes
