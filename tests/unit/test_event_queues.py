"""Patches that bring events to their readers: each does what the server's own code does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from agent.dev_server import event_queues, patch
from agent.dev_server.event_queues import NEWS_OF_THREADS, NO_TASKS_PER_QUEUE
from tests.unit.test_dev_patches import Lists, loadable  # noqa: F401 - a fixture

LONG_SECONDS = 60.0


@pytest.fixture
def original(loadable: None, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: F811
    """The server's module of queues, as it is after the test what it was before."""
    from langgraph_runtime_inmem import inmem_stream

    monkeypatch.setattr(inmem_stream, "ContextQueue", inmem_stream.ContextQueue)
    for name in ("put", "put_thread", "add_control_queue"):
        monkeypatch.setattr(
            inmem_stream.StreamManager, name, getattr(inmem_stream.StreamManager, name)
        )
    monkeypatch.setattr(inmem_stream, patch._APPLIED, set(), raising=False)
    return inmem_stream


@pytest.fixture(params=["the server's", "ours"])
def streams(original: Any, request: pytest.FixtureRequest) -> Any:
    if request.param == "ours":
        NO_TASKS_PER_QUEUE.apply(original)
    return original


def message_of(streams: Any, run: UUID, data: bytes, kind: str = "stream") -> Any:
    return streams.Message(topic=f"run:{run}:{kind}".encode(), data=data)


@pytest.mark.parametrize("has_thread", [True, False])
async def test_an_event_reaches_each_reader_of_its_run(streams: Any, has_thread: bool) -> None:
    """And no other; what is kept for later readers is kept, in order; an end goes elsewhere."""
    manager, run, other = streams.StreamManager(), uuid4(), uuid4()
    thread = uuid4() if has_thread else None
    readers = [await manager.add_queue(run, thread) for _ in range(2)]
    stranger = await manager.add_queue(other, thread)
    control = await manager.add_control_queue(run, thread)
    for data in (b"1", b"2"):
        await manager.put(str(run), thread, message_of(streams, run, data), resumable=True)
    await manager.put(run, thread, message_of(streams, run, b"3"))
    await manager.put(run, thread, message_of(streams, run, b"done", "control"))
    for reader in readers:
        got = [reader.get_nowait() for _ in range(reader.qsize())]
        assert [message.data for message in got] == [b"1", b"2", b"3"]
        assert all(message.id.endswith(b"-0") for message in got)
    assert stranger.empty()
    assert (await control.get()).data == b"done"
    assert manager.get_control_key(run, thread).data == b"done"
    kept = manager.restore_messages(run, thread, "-")
    assert [message.data for message in kept] == [b"1", b"2"]


async def test_who_waits_in_vain_loses_nothing(streams: Any) -> None:
    """A wait that times out takes no event; the next ones come in order."""
    manager, run, thread = streams.StreamManager(), uuid4(), uuid4()
    queue = await manager.add_queue(run, thread)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 0.01)
    waiting = asyncio.create_task(asyncio.wait_for(queue.get(), LONG_SECONDS))
    await asyncio.sleep(0)
    for data in (b"1", b"2", b"3"):
        await manager.put(run, thread, message_of(streams, run, data))
    got = [await waiting, await asyncio.wait_for(queue.get(), LONG_SECONDS), queue.get_nowait()]
    assert [message.data for message in got] == [b"1", b"2", b"3"]
    assert queue.empty()


async def test_an_event_at_the_end_of_a_wait_is_kept(streams: Any) -> None:
    """Whoever waits has it, or the next who waits, where both come in one turn of the loop."""
    manager, run, thread = streams.StreamManager(), uuid4(), uuid4()
    queue = await manager.add_queue(run, thread)
    waiting = asyncio.create_task(asyncio.wait_for(queue.get(), 0.02))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, queue.put_nowait, "event")
    time.sleep(0.03)  # noqa: ASYNC251 - a busy loop, to which both are due at once
    with suppress(TimeoutError):
        assert await waiting == "event"
        return
    assert queue.get_nowait() == "event"


async def test_an_event_needs_no_task(original: Any) -> None:
    """Neither to be put, nor to be waited for with a time limit; unpatched, to be put."""
    made = list[Any]()
    loop = asyncio.get_running_loop()

    def note(loop: Any, work: Any, **options: Any) -> Any:
        made.append(work)
        return asyncio.Task(work, loop=loop, **options)

    async def tasks_of_one_event() -> int:
        manager, run, thread = original.StreamManager(), uuid4(), uuid4()
        queue = await manager.add_queue(run, thread)
        made.clear()
        await manager.put(run, thread, message_of(original, run, b"1"))
        await asyncio.wait_for(queue.get(), LONG_SECONDS)
        return len(made)

    loop.set_task_factory(note)
    try:
        assert await tasks_of_one_event() > 0
        NO_TASKS_PER_QUEUE.apply(original)
        assert await tasks_of_one_event() == 0
    finally:
        loop.set_task_factory(None)


async def test_a_threads_stream_waits_for_what_is_new(
    original: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks when something is put or begins, of runs that began later, too; and not else."""
    from langgraph_api.utils.stream_codec import STREAM_CODEC
    from langgraph_runtime_inmem import ops

    await original.start_stream()
    manager = original.get_stream_manager()
    thread, going, later = uuid4(), uuid4(), uuid4()
    lists = Lists([thread], [{"thread_id": thread, "run_id": going}])
    looks = 0

    async def admit(*_: Any) -> None:
        pass

    async def put(run: UUID, text: bytes) -> None:
        data = STREAM_CODEC.encode("values", text)
        await manager.put(run, thread, message_of(original, run, data))

    class Stream(ops.Threads.Stream):  # type: ignore[misc]
        check_thread_stream_auth = staticmethod(admit)

    subscribe = Stream.subscribe

    async def counted(*arguments: Any) -> Any:
        nonlocal looks
        looks += 1
        return await subscribe(*arguments)

    Stream.subscribe = staticmethod(counted)
    monkeypatch.setattr(ops, "connect", lists.connect)
    monkeypatch.setattr(ops, "Threads", type("Threads", (ops.Threads,), {"Stream": Stream}))
    monkeypatch.setattr(event_queues, "_LOOK_SECONDS", LONG_SECONDS)
    assert NO_TASKS_PER_QUEUE.apply_once(original) is None
    NEWS_OF_THREADS.apply(ops)

    async def events() -> AsyncIterator[bytes]:
        joined = ops.Threads.Stream.join_event_streaming(thread, stream_modes=["run_modes"])
        async with aclosing(joined):
            async for _, data, _, _ in joined:
                yield data

    async with asyncio.timeout(LONG_SECONDS / 2), aclosing(events()) as read:
        first = asyncio.create_task(anext(read))
        await asyncio.sleep(0.2)  # unpatched, it looks ten times meanwhile
        assert looks <= 2
        await put(going, b"1")
        assert await first == b"1"
        second = asyncio.create_task(anext(read))
        await asyncio.sleep(0.1)
        lists.store["runs"].append({"thread_id": thread, "run_id": later})
        await manager.add_control_queue(later, thread)
        await asyncio.sleep(0.1)
        await put(later, b"2")
        assert await second == b"2"
    assert looks <= 8
    assert not event_queues._readers
