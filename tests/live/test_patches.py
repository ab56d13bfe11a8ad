"""The patches of the server: each is still needed, and does what it says."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from agent.dev_server import patches
from client import AgentClient


@pytest.fixture
def loadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's modules can be imported outside of a server."""
    for name, value in {"DATABASE_URI": ":memory:", "REDIS_URI": "fake"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MIGRATIONS_PATH", "__inmem")


def test_the_adapter_still_lacks_the_query(loadable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the adapter passes the question on by itself, there is nothing left to patch."""
    from langgraph_api._checkpointer import _adapter

    assert patches.one_query_for_history(_adapter)
    assert not patches.one_query_for_history(_adapter)
    monkeypatch.delattr(_adapter._CustomCheckpointerAdapter, "aget_delta_channel_history")


class Waiting:
    """A list of threads as the in-memory server has it, its checkpointer slow."""

    def __init__(self, ids: list[UUID]) -> None:
        self.store: dict[str, list[Any]] = {
            "threads": [{"thread_id": at, "metadata": {}} for at in ids],
            "runs": [],
            "crons": [],
        }


async def delete_two(threads: Any) -> list[UUID]:
    """What is left of three when the first two are deleted at once."""
    ids = [uuid4() for _ in range(3)]
    conn = Waiting(ids)
    await asyncio.gather(*(threads.delete(conn, at) for at in ids[:2]), return_exceptions=True)
    return [ids.index(thread["thread_id"]) for thread in conn.store["threads"]]


async def test_deletions_still_meet(loadable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpatched, two deletions at once remove a thread that nobody named; patched, they do not."""
    from langgraph_runtime_inmem import ops

    async def slowly(*args: Any) -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(ops, "_delete_checkpoints_for_thread", slowly)
    assert await delete_two(ops.Threads) == [1]
    patched = SimpleNamespace(Threads=type("Threads", (ops.Threads,), {}))
    assert patches.one_deletion_at_a_time(patched)
    assert not patches.one_deletion_at_a_time(patched)
    assert await delete_two(patched.Threads) == [2]


async def worker_is_left_behind(patched: Any) -> bool:
    """Whether a run's worker still is at work when its thread has been deleted."""
    (thread_id, run_id), conn = (uuid4(), uuid4()), Waiting([])
    conn.store["threads"].append({"thread_id": thread_id, "metadata": {}, "status": "busy"})
    run = {"thread_id": thread_id, "run_id": run_id, "status": "running", "kwargs": {}}
    conn.store["runs"].append(run)
    began = asyncio.Event()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        async with patched.Runs.enter(run_id, thread_id, loop, False) as done:
            began.set()
            await done.wait()

    worker = asyncio.create_task(work())
    await began.wait()
    await patched.Threads.delete(conn, thread_id)
    assert conn.store["threads"] == []
    is_left = not worker.done()
    worker.cancel()
    return is_left


async def test_a_deleted_threads_worker_still_goes_on(
    loadable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpatched, a thread's run goes on after its thread; patched, it has ended before."""
    from langgraph_runtime_inmem import inmem_stream, ops

    async def nothing(*args: Any) -> None:
        pass

    await inmem_stream.start_stream()
    monkeypatch.setattr(ops, "_delete_checkpoints_for_thread", nothing)
    patched = SimpleNamespace(
        Threads=type("Threads", (ops.Threads,), {}), Runs=type("Runs", (ops.Runs,), {})
    )
    assert patches.one_run_at_a_time(patched)
    assert await worker_is_left_behind(patched)
    assert patches.runs_end_before_their_thread(patched)
    assert not patches.runs_end_before_their_thread(patched)
    assert not await worker_is_left_behind(patched)


async def most_at_once(runs: Any) -> int:
    """How many of three workers were in one thread's runs at the same time."""
    inside, most, thread = 0, 0, uuid4()

    async def work() -> None:
        nonlocal inside, most
        async with runs.enter(uuid4(), thread, asyncio.get_running_loop(), False):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(3)))
    return most


async def test_runs_of_a_thread_still_overlap(loadable: None) -> None:
    """Unpatched, a run's worker begins while another's still ends; patched, they take turns."""
    from langgraph_runtime_inmem import inmem_stream, ops

    await inmem_stream.start_stream()
    assert await most_at_once(ops.Runs) == 3
    patched = SimpleNamespace(Runs=type("Runs", (ops.Runs,), {}))
    assert patches.one_run_at_a_time(patched)
    assert not patches.one_run_at_a_time(patched)
    assert await most_at_once(patched.Runs) == 1


async def runs_with_events(runs: Any, streams: Any) -> int:
    """Of how many runs there are events, when two of one thread have said something and ended."""
    thread, manager = uuid4(), streams.get_stream_manager()
    for run in (uuid4(), uuid4()):
        async with runs.enter(run, thread, asyncio.get_running_loop(), True):
            message = streams.Message(topic=f"run:{run}:stream".encode(), data=b"{}")
            await manager.put(run, thread, message, resumable=True)
    for _ in range(3):  # what is due now is done
        await asyncio.sleep(0)
    return len(manager.message_stores.get(thread, ()))


async def test_events_are_still_kept_for_ever(loadable: None) -> None:
    """Unpatched, the events of ended runs pile up; patched, they go when their time has passed."""
    from langgraph_runtime_inmem import inmem_stream, ops

    await inmem_stream.start_stream()
    assert await runs_with_events(ops.Runs, inmem_stream) == 2
    patched = SimpleNamespace(
        Runs=type("Runs", (ops.Runs,), {}), get_stream_manager=inmem_stream.get_stream_manager
    )
    assert patches.ended_runs_are_forgotten(patched, kept_seconds=0)
    assert not patches.ended_runs_are_forgotten(patched)
    assert await runs_with_events(patched.Runs, inmem_stream) == 0


async def test_threads_deleted_at_once_leave_the_others(agent: AgentClient) -> None:
    """Every second of twenty threads is deleted at once: the others are all still there."""
    ids = [await agent.threads.create() for _ in range(20)]
    await asyncio.gather(*(agent.threads.delete(at) for at in ids[::2]))
    kept = [await agent.threads.get(at) for at in ids[1::2]]
    assert [str(thread["thread_id"]) for thread in kept] == ids[1::2]
