"""A thread's stream, which clients of the thread-stream protocol (v3) read, has no gap.

The in-memory server first replays the events that are stored, and then listens for new ones: those
that are written while it replays reach nobody, nor do a new run's before the server has found it.
The longer the thread, the more of an answer is lost when it is joined in its middle.
"""

import functools
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from agent.dev_server.patch import Patch, Shape

_BEGINNING = "-"
_last_event_id = ContextVar[str | None]("last_event_id", default=None)


def _apply(ops: Any) -> None:
    stream = ops.Threads.Stream
    join, subscribe = stream.join_event_streaming, stream.subscribe

    @functools.wraps(join)
    async def join_without_gap(
        thread_id: UUID | str, *, last_event_id: str | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        _last_event_id.set(last_event_id)
        async for event in join(thread_id, last_event_id=None, **kwargs):
            yield event

    @functools.wraps(subscribe)
    async def subscribe_and_replay(
        conn: Any, thread_id: UUID | str, seen_runs: set[UUID]
    ) -> list[tuple[UUID, Any]]:
        """Each queue begins with what is stored; of a run that began later, with everything."""
        thread = UUID(str(thread_id))
        after = _BEGINNING if thread in seen_runs else _last_event_id.get()
        queues: list[tuple[UUID, Any]] = await subscribe(conn, thread, seen_runs)
        events = ops.get_stream_manager()
        for run_id, queue in queues:
            if run_id in events.message_stores.get(thread, ()):
                for message in events.restore_messages(run_id, thread, after):
                    queue.put_nowait(message)
        return queues

    stream.join_event_streaming = staticmethod(join_without_gap)
    stream.subscribe = staticmethod(subscribe_and_replay)


THREAD_STREAM = Patch(
    name="a thread's stream has no gap",
    module="langgraph_runtime_inmem.ops",
    package="langgraph-runtime-inmem",
    series="0.36",
    replaces={
        "Threads.Stream.join_event_streaming": Shape(
            "thread_id last_event_id stream_modes ctx",
            """
            new_queue_tuples = await Threads.Stream.subscribe(
                conn, thread_id, seen_runs
            )
            """,
        ),
        "Threads.Stream.subscribe": Shape(
            "conn thread_id seen_runs",
            """
            if run_id not in seen_runs:
                queue = await stream_manager.add_queue(run_id, thread_id)
                queues.append((run_id, queue))
            """,
        ),
    },
    needs=("get_stream_manager",),
    apply=_apply,
    loss="a client of the thread streams (v3) that joins in the middle of an answer misses "
    "what is written while it is told of earlier turns",
)
