"""Events go from a run to its readers without tasks, and nobody has to look for them.

For each event and reader the in-memory server makes a task to put it and, on Python 3.11, one to
take it. Where a thread's stream is read (v3), it looks for what is new fifty times a second,
through the list of all runs.
"""

import asyncio
import functools
import sys
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from agent.dev_server.patch import Patch, Shape

_LOOK_SECONDS = 0.5  # however quiet a thread is: a run may be found that nobody told of

_readers = defaultdict[UUID, set[asyncio.Event]](set)  # of threads' streams, by thread
_news = ContextVar[asyncio.Event | None]("news", default=None)  # of the stream being read


def _tell_readers(thread: Any) -> None:
    for news in _readers.get(thread, ()):
        news.set()


def _put_directly(streams: Any) -> None:
    manager = streams.StreamManager
    put_thread, add_control_queue = manager.put_thread, manager.add_control_queue

    class TasklessQueue(streams.ContextQueue):  # type: ignore[misc]
        """Gives futures: who waits for one with a time limit needs no task.

        Only where such a wait gives what its future has, when both come in one turn of the event
        loop. Since Python 3.12 it is a `TimeoutError` then; and the server's own needs no task.
        """

        def __init__(self) -> None:
            super().__init__()
            self._waiting = deque[asyncio.Future[Any]]()

        def get(self) -> asyncio.Future[Any]:
            item = asyncio.get_running_loop().create_future()
            self._waiting.append(item)
            self._serve()
            return item

        def put_nowait(self, item: Any) -> None:
            super().put_nowait(item)
            self._serve()

        def _serve(self) -> None:
            while self._waiting and not self.empty():
                item = self._waiting.popleft()
                if not item.done():  # whoever waited may have left
                    item.set_result(self.get_nowait())

    async def put(
        self: Any,
        run_id: UUID | str,
        thread_id: UUID | str | None,
        message: Any,
        resumable: bool = False,
    ) -> None:
        run = streams._ensure_uuid(run_id)
        thread = streams.THREADLESS_KEY if thread_id is None else streams._ensure_uuid(thread_id)
        message.id = streams._generate_ms_seq_id().encode()
        if resumable:
            self.message_stores[thread][run].append(message)
        queues = self.queues
        if b"control" in message.topic:
            self.control_keys[thread][run] = message
            queues = self.control_queues
        for queue in queues.get(thread, {}).get(run, ()):
            queue.put_nowait(message)
        _tell_readers(thread)

    async def put_thread_and_tell(self: Any, thread_id: UUID | str, message: Any) -> None:
        await put_thread(self, thread_id, message)
        _tell_readers(streams._ensure_uuid(thread_id))

    async def begin_and_tell(self: Any, run_id: Any, thread_id: UUID | str | None) -> Any:
        """A run begins to listen for its end: its readers find it before its first event."""
        _tell_readers(streams._ensure_uuid(thread_id))
        return await add_control_queue(self, run_id, thread_id)

    if sys.version_info < (3, 12):
        streams.ContextQueue = TasklessQueue
    manager.put = functools.wraps(manager.put)(put)
    manager.put_thread = functools.wraps(put_thread)(put_thread_and_tell)
    manager.add_control_queue = functools.wraps(add_control_queue)(begin_and_tell)


def _wait_for_news(ops: Any) -> None:
    stream = ops.Threads.Stream
    join, subscribe = stream.join_event_streaming, stream.subscribe

    @functools.wraps(join)
    async def join_and_listen(thread_id: UUID | str, **kwargs: Any) -> AsyncIterator[Any]:
        thread, news = UUID(str(thread_id)), asyncio.Event()
        _news.set(news)
        _readers[thread].add(news)
        try:
            async with aclosing(join(thread_id, **kwargs)) as joined:
                async for event in joined:
                    yield event
                    _news.set(news)  # another task may ask for the next one
        finally:
            _readers[thread].discard(news)
            if not _readers[thread]:
                del _readers[thread]

    @functools.wraps(subscribe)
    async def subscribe_at_news(conn: Any, thread_id: UUID | str, seen_runs: set[UUID]) -> Any:
        """The server asks for new queues before it looks into those that it has."""
        news = _news.get()
        if NO_TASKS_PER_QUEUE.is_applied and news is not None and UUID(str(thread_id)) in seen_runs:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await news.wait()
            news.clear()
        return await subscribe(conn, thread_id, seen_runs)

    stream.join_event_streaming = staticmethod(join_and_listen)
    stream.subscribe = staticmethod(subscribe_at_news)


NO_TASKS_PER_QUEUE = Patch(
    name="an event goes into its queues and out of them without tasks",
    module="langgraph_runtime_inmem.inmem_stream",
    replaces={
        "StreamManager.put": Shape(
            "self run_id thread_id message resumable",
            """
            if resumable:
                self.message_stores[thread_id][run_id].append(message)
            if "control" in topic:
                self.control_keys[thread_id][run_id] = message
                queues = self.control_queues[thread_id][run_id]
            else:
                queues = self.queues[thread_id][run_id]
            coros = [queue.put(message) for queue in queues]
            results = await asyncio.gather(*coros, return_exceptions=True)
            """,
        ),
        "StreamManager.put_thread": Shape(
            "self thread_id message", "queues = self.thread_streams[thread_id]"
        ),
        "StreamManager.add_control_queue": Shape(
            "self run_id thread_id", "self.control_queues[thread_id][run_id].append(queue)"
        ),
        "StreamManager.add_queue": Shape("self run_id thread_id", "queue = ContextQueue()"),
    },
    needs=("ContextQueue", "THREADLESS_KEY", "_ensure_uuid", "_generate_ms_seq_id"),
    apply=_put_directly,
    loss="each event of a stream costs more",
)
NEWS_OF_THREADS = Patch(
    name="a thread's stream waits for what is new",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Threads.Stream.join_event_streaming": Shape(
            "thread_id last_event_id stream_modes ctx", "await asyncio.sleep(0.02)"
        ),
        "Threads.Stream.subscribe": Shape(
            "conn thread_id seen_runs", "if thread_id not in seen_runs:"
        ),
    },
    apply=_wait_for_news,
    loss="each thread stream (v3) that is open costs more, the more runs there are",
)
