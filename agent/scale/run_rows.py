"""A run in the database: created and begun by one statement, and ended by one (`guard.sql`).

Aegra takes a dozen, in three transactions, and each through SQLAlchemy's objects.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import psycopg
from aegra_api.core.orm import _strip_null_bytes
from aegra_api.models import Run, RunCreate, User
from aegra_api.models.run_job import RunBehavior, RunExecution, RunIdentity, RunJob
from aegra_api.services import run_preparation, run_status
from aegra_api.services.langgraph_service import get_langgraph_service
from aegra_api.settings import settings
from fastapi import HTTPException

from agent.access.quota import allow_one_more_run, runs_per_user
from agent.scale.assistants import Assistant, assistant_of
from agent.scale.connections import one_row

_CREATE = """SELECT * FROM steady_create_run(
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
_END = "SELECT steady_end_run(%s, %s, %s, %s, %s, %s, %s, %s) AS is_ended"
_TOO_MANY = "SY429"  # the SQLSTATE that guard.sql raises


class Created(NamedTuple):
    """When a run was created, and whether it is begun: claimed, and its thread's only one."""

    at: datetime
    is_begun: bool


class NewRun:
    """A run that was asked for.

    Raises HTTPException, 404 or 422, where there is no such assistant, or the config is none.
    """

    def __init__(
        self,
        thread_id: str,
        request: RunCreate,
        user: User,
        assistant: Assistant | None,
        is_event_stream: bool,
    ) -> None:
        config, context = request.config or {}, request.context or {}
        configurable = config.get("configurable", {})
        if not isinstance(configurable, dict):
            raise HTTPException(422, "`config.configurable` must be a mapping")
        if assistant is None or assistant.graph_id not in get_langgraph_service().list_graphs():
            raise HTTPException(404, f"Assistant '{request.assistant_id}' not found")
        merged = run_preparation._merge_jsonb
        graph_id = assistant.graph_id
        self.assistant = assistant
        self.job = RunJob(
            identity=RunIdentity(run_id=str(uuid4()), thread_id=thread_id, graph_id=graph_id),
            user=user,
            execution=RunExecution(
                input_data=request.input,
                config=merged(assistant.config, config),
                context=merged(assistant.context, context or configurable),
                stream_mode=request.stream_mode,
                checkpoint=run_preparation._resolve_checkpoint(request),
                command=request.command,
                durability=run_preparation._resolve_durability(request),
                event_streaming_v2=is_event_stream,
            ),
            behavior=RunBehavior(
                interrupt_before=request.interrupt_before,
                interrupt_after=request.interrupt_after,
                multitask_strategy=request.multitask_strategy,
                subgraphs=request.stream_subgraphs or False,
            ),
            run_metadata=request.metadata or {},
        )
        self.trace = {
            "correlation_id": run_preparation.correlation_id.get(""),
            "user_id": user.identity,
            "thread_id": thread_id,
            "graph_id": graph_id,
        }
        self.created: asyncio.Future[Created] = asyncio.get_running_loop().create_future()

    async def create(self, claim: str | None) -> Created:
        """Stores the run, begun under this name, if there is one and the thread is free.

        Raises HTTPException 429, or psycopg.Error.
        """
        job, owner, most = self.job, self.job.user.identity, runs_per_user()
        marks = {"assistant_id": self.assistant.assistant_id, "graph_id": job.identity.graph_id}
        params = {**job.to_execution_params(), "trace": self.trace}
        documents = (job.execution.input_data, job.execution.config, job.execution.context, params)
        title = run_preparation._extract_thread_name(job.execution.input_data or {})
        seconds = settings.worker.LEASE_DURATION_SECONDS
        lease_until = datetime.now(UTC) + timedelta(seconds=seconds)
        whose = (job.identity.run_id, job.identity.thread_id, owner, most)
        what = (self.assistant.assistant_id, _jsonb(marks), title.replace("\0", ""))
        try:
            row = await one_row(
                _CREATE, (*whose, *what, *map(_jsonb, documents), claim, lease_until)
            )
        except psycopg.DatabaseError as error:
            if error.sqlstate == _TOO_MANY and most is not None:
                allow_one_more_run(most)
            raise
        assert row is not None  # noqa: S101 - a function gives one
        return Created(row["created"], row["is_begun"])

    def as_pending(self, at: datetime) -> Run:
        """The run as the API has it when it is created."""
        identity, execution = self.job.identity, self.job.execution
        return Run(
            run_id=identity.run_id,
            thread_id=identity.thread_id,
            assistant_id=self.assistant.assistant_id,
            status="pending",
            input=execution.input_data,
            config=execution.config,
            context=execution.context,
            user_id=self.job.user.identity,
            created_at=at,
            updated_at=at,
        )


async def new_run(
    thread_id: str, request: RunCreate, user: User, *, is_event_stream: bool = False
) -> NewRun:
    """The run that a request asks for. Raises HTTPException 404 or 422."""
    assistant = await assistant_of(request.assistant_id, user.identity)
    return NewRun(thread_id, request, user, assistant, is_event_stream)


async def end(
    run_id: str,
    thread_id: str,
    claim: str | None,
    *,
    user_id: str,
    status: str,
    thread_status: str,
    output: Any = None,
    error: str | None = None,
) -> bool:
    """Ends a run, if it is this claim's; returns whether it was not ended by another before.

    Raises psycopg.DatabaseError with `lease.GONE` where it is another's.
    """
    stored = None if output is None else _jsonb(run_status._safe_serialize(output, run_id))
    told = (status, thread_status, stored, error and error.replace("\0", ""))
    row = await one_row(_END, (run_id, thread_id, user_id, claim, *told))
    return bool(row and row["is_ended"])


def _jsonb(value: Any) -> str | None:
    """As Aegra stores it: PostgreSQL takes no NUL."""
    if value is None:
        return None
    value = _strip_null_bytes(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a huge number
        return json.dumps(value)
