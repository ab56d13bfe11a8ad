"""A run is carried out by the process that was asked for it, as long as it has few.

Its reader is there, so its events reach the reader without Redis. The statement that creates such a
run begins it, too; where it cannot be begun yet, or the process has enough, it goes to the common
queue. A process that dies leaves it to the others as any run that it had begun.
"""

import asyncio
import contextvars
from contextlib import AsyncExitStack
from typing import Any

from aegra_api.api import runs
from aegra_api.core.orm import get_session_maker
from aegra_api.models import Run, RunCreate, User
from aegra_api.models.run_job import RunJob
from aegra_api.services import run_preparation, worker_executor
from aegra_api.services.broker import broker_manager
from aegra_api.services.worker_executor import WorkerExecutor
from aegra_api.settings import settings
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException

from agent.scale.process import executor_here
from agent.scale.run_rows import Created, NewRun, new_run

_AGAIN_SECONDS = 2
_asked_for: dict[str, NewRun] = {}  # by id: not created yet


async def start(new: NewRun) -> Created:
    """Creates the run, and begins it here if it can be begun.

    Raises HTTPException 429 or 503, or psycopg.Error.
    """
    ours, run_id = executor_here(), new.job.identity.run_id
    if ours._running and len(ours._job_tasks) < settings.worker.N_JOBS_PER_WORKER:
        _asked_for[run_id] = new
        ended = asyncio.Semaphore(0)
        execute = ours._execute_and_release(run_id, f"{ours._instance_id}-here", ended)
        # Of no request: those of its context variables are not the run's.
        task = asyncio.create_task(execute, context=contextvars.Context())
        ours._job_tasks[task] = run_id
        task.add_done_callback(lambda task: _forget(ours, task, new))
        created = await asyncio.shield(new.created)
    else:
        created = await new.create(None)
    if not created.is_begun:
        await ours.submit(new.job)
    return created


def _forget(ours: WorkerExecutor, task: asyncio.Task[None], new: NewRun) -> None:
    ours._job_tasks.pop(task, None)
    _asked_for.pop(new.job.identity.run_id, None)
    if not new.created.done():  # the task was cancelled
        again = {"Retry-After": str(_AGAIN_SECONDS)}
        told = HTTPException(503, "The server is stopping: try again in a moment.", again)
        new.created.set_exception(told)


async def prepare(
    session: AsyncSession | None,
    thread_id: str,
    request: RunCreate,
    user: User,
    *,
    initial_status: str = "pending",
    event_streaming_v2: bool = False,
) -> tuple[str, Run, RunJob]:
    """Creates a run, in the place of Aegra's own function.

    Args:
        session: it may have read what the request is about; its transaction is ended.
        thread_id: of a thread that there is, or that is made.
        request: the run.
        user: whose it is.
        initial_status: of the run; Aegra knows no other.
        event_streaming_v2: whether its events are those of the thread protocol.
    """
    async with AsyncExitStack() as stack:
        if request.command and "resume" in request.command:
            if session is None:
                session = await stack.enter_async_context(get_session_maker()())
            await run_preparation._validate_resume_command(session, thread_id, request.command)
        if session is not None:
            await session.commit()  # creating the run may wait for what it holds
    new = await new_run(thread_id, request, user, is_event_stream=event_streaming_v2)
    created = await start(new)
    return new.job.identity.run_id, new.as_pending(created.at), new.job


def apply() -> None:
    """Has Aegra create runs so, and its workers begin what is asked for here."""
    acquire = worker_executor._acquire_and_load

    async def create_or_acquire(run_id: str, name: str) -> Any:
        new = _asked_for.pop(run_id, None)
        if new is None:
            return await acquire(run_id, name)
        try:
            created = await new.create(name)
        except Exception as error:
            new.created.set_exception(error)
            return None
        if created.is_begun:
            broker_manager.get_or_create_broker(run_id).begin()
        new.created.set_result(created)
        return worker_executor._LoadedRun(new.job, new.trace) if created.is_begun else None

    worker_executor._acquire_and_load = create_or_acquire
    run_preparation._prepare_run = runs._prepare_run = prepare
