"""Who joins a stream in the middle of an answer gets each event once.

A run's stream: the in-memory server listens for new events and then replays the stored ones, so
that it repeats what was written meanwhile. A thread's stream, which clients of the thread-stream
protocol (v3) read: it replays first and listens then, so that what is written meanwhile reaches
nobody, nor do a new run's events before the server has found it. The longer the replay, the more.
"""

import functools
from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from itertools import takewhile
from typing import Any
from uuid import UUID

from agent.dev_server.patch import Patch, Shape

_BEGINNING = "-"
_last_event_id = ContextVar[str | None]("last_event_id", default=None)


def _stored_after(
    events: Any, run_id: UUID | str, thread_id: UUID | str, last_event_id: str | None
) -> list[Any]:
    """A run's stored events after this id: found from the end, so that it costs what was missed."""
    if last_event_id is None:
        return []
    stored = events.message_stores.get(UUID(str(thread_id)), {}).get(UUID(str(run_id)), ())
    after = last_event_id.encode()
    missed = takewhile(lambda message: message.id > after, reversed(stored))
    return list(missed)[::-1]


def _replay_once(ops: Any) -> None:
    stream = ops.Runs.Stream
    join = stream.join

    @functools.wraps(join)
    async def join_without_repeats(
        run_id: UUID,
        *,
        stream_channel: Any,
        thread_id: UUID,
        last_event_id: str | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """The queue begins with what is stored, and has what was written since once."""
        new = [stream_channel.get_nowait() for _ in range(stream_channel.qsize())]
        events = ops.get_stream_manager()
        stored = _stored_after(events, run_id, thread_id, last_event_id)
        known = set(map(id, new))
        for message in (*(each for each in stored if id(each) not in known), *new):
            stream_channel.put_nowait(message)
        joined = join(run_id, stream_channel=stream_channel, thread_id=thread_id, **kwargs)
        async with aclosing(joined):
            async for event in joined:
                yield event

    stream.join = staticmethod(join_without_repeats)


def _replay_gapless(ops: Any) -> None:
    stream = ops.Threads.Stream
    join, subscribe = stream.join_event_streaming, stream.subscribe

    @functools.wraps(join)
    async def join_without_gap(
        thread_id: UUID | str, *, last_event_id: str | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        _last_event_id.set(last_event_id)
        joined = join(thread_id, last_event_id=None, **kwargs)
        async with aclosing(joined):
            async for event in joined:
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
                for message in _stored_after(events, run_id, thread, after):
                    queue.put_nowait(message)
        return queues

    stream.join_event_streaming = staticmethod(join_without_gap)
    stream.subscribe = staticmethod(subscribe_and_replay)


THREAD_STREAM = Patch(
    name="a thread's stream has no gap",
    module="langgraph_runtime_inmem.ops",
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
    apply=_replay_gapless,
    loss="a client of the thread streams (v3) that joins in the middle of an answer misses "
    "what is written while it is told of earlier turns",
)
RUN_STREAM = Patch(
    name="a run's stream has no repeats",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Runs.Stream.join": Shape(
            "run_id stream_channel thread_id ignore_404 cancel_on_disconnect stream_mode "
            "last_event_id ctx",
            """
            for message in get_stream_manager().restore_messages(
                run_id, thread_id, last_event_id
            ):
                data, id = message.data, message.id
            """,
        )
    },
    needs=("get_stream_manager",),
    apply=_replay_once,
    loss="a page that is loaded again in the middle of an answer may show some words twice",
)
