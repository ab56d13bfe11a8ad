"""Runs start at once, and a thread that is busy holds up nobody else's runs.

The in-memory runtime's `Runs.next` sleeps for half a second before it looks, and takes "now" before
it sleeps: a run put meanwhile waits for the next look, 0.72 s on average. And it takes the first
`limit` pending runs before it leaves out those whose thread is busy: as many waiting runs as there
are jobs hold up all the others.
"""

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import structlog

from agent.dev_server.patch import Patch, Shape
from agent.dev_server.thread_index import of_thread
from agent.dev_server.threads import ACTIVE

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = 0.5  # the longest time between two looks


def _apply(ops: Any) -> None:
    put, arrived = ops.Runs.put, asyncio.Event()

    @functools.wraps(ops.Runs.next)
    async def next_runnable(wait: bool, limit: int = 1) -> AsyncGenerator[tuple[Any, int]]:
        if wait:
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), POLL_SECONDS)
        else:
            await asyncio.sleep(0)
        arrived.clear()
        async with ops.connect() as conn, ops.RUN_LOCK:
            taken = 0
            for run in _runnable(conn.store):
                if run["status"] != "pending":  # it was cancelled while another was handed out
                    continue
                attempt = await conn.retry_counter.increment(run["run_id"])
                run["status"] = "running"
                yield run, attempt
                taken += 1
                if taken >= limit:
                    return

    @functools.wraps(put)
    async def put_and_wake(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        runs: AsyncIterator[Any] = await put(*args, **kwargs)
        arrived.set()
        return runs

    ops.Runs.next, ops.Runs.put = staticmethod(next_runnable), staticmethod(put_and_wake)


def _runnable(store: Any) -> list[Any]:
    """The runs that are due on idle threads, the oldest first, one of each thread."""
    now = datetime.now(UTC)
    active = [run for run in store["runs"] if run["status"] in ACTIVE]
    unavailable = {run["thread_id"] for run in active if run["status"] == "running"}
    pending = [
        run for run in active if run["status"] == "pending" and run.get("created_at", now) <= now
    ]
    runnable = []
    for run in sorted(pending, key=lambda run: run.get("created_at", now)):
        thread_id = run["thread_id"]
        if thread_id in unavailable:
            continue
        if not of_thread(store, "threads", thread_id):
            log.warning(f"A run waits on a thread that is not listed: {thread_id}")
            continue
        unavailable.add(thread_id)
        runnable.append(run)
    return runnable


QUEUE = Patch(
    name="queue",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Runs.next": Shape(
            "wait limit",
            """
            if wait:
                await asyncio.sleep(0.5)
            else:
                await asyncio.sleep(0)

            async with connect() as conn, RUN_LOCK:
                pending_runs = sorted(
                    [
                        run
                        for run in conn.store["runs"]
                        if run["status"] == "pending" and run.get("created_at", now) < now
                    ],
                    key=lambda x: x.get("created_at", datetime.min),
                )

                if not pending_runs:
                    return

                # Try to lock and get the first available run
                for _, run in zip(range(limit), pending_runs, strict=False):
            """,
        ),
        "Runs.put": Shape(
            "conn assistant_id kwargs thread_id user_id run_id status metadata"
            " prevent_insert_if_inflight multitask_strategy if_not_exists after_seconds ctx"
            " langsmith_session_name",
            'conn.store["runs"].append(new_run)',
        ),
    },
    needs=("connect", "RUN_LOCK"),
    apply=_apply,
    loss="runs start up to a second later, and runs that wait on busy threads hold up others",
)
