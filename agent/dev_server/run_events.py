"""A run's events are dropped some time after its end; the in-memory server keeps them for life."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from agent.dev_server.patch import Patch, Shape

KEPT_SECONDS = 600.0  # after the run's end, for readers who join late


def _apply(ops: Any) -> None:
    enter = ops.Runs.enter

    @functools.wraps(enter)
    @asynccontextmanager
    async def enter_and_drop_events(
        run_id: UUID, thread_id: UUID | None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        try:
            async with enter(run_id, thread_id, *args, **kwargs) as done:
                yield done
        finally:
            events = ops.get_stream_manager().message_stores
            loop = asyncio.get_running_loop()
            loop.call_later(KEPT_SECONDS, _drop, events, run_id, thread_id)

    ops.Runs.enter = staticmethod(enter_and_drop_events)


def _drop(events: dict[Any, dict[Any, Any]], run_id: UUID, thread_id: UUID | None) -> None:
    of_thread = events.get(thread_id, {})
    of_thread.pop(run_id, None)
    if not of_thread:
        events.pop(thread_id, None)


DROP_OLD_EVENTS = Patch(
    name="old events are dropped",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Runs.enter": Shape(
            "run_id thread_id loop resumable",
            """
            await stream_manager.put(
                run_id, thread_id, stream_message, resumable=resumable
            )
            """,
        )
    },
    needs=("get_stream_manager",),
    apply=_apply,
    loss="the events of all runs stay in memory until the server ends",
)
