"""The patches of the dev server: each fits the installed one, is needed, and does its work."""

import asyncio
import importlib
import itertools
import logging
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import aiosqlite
import orjson
import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import PersistentDict
from langgraph.graph import START, StateGraph
from langgraph.types import StateSnapshot
from starlette.exceptions import HTTPException

from agent import settings as settings_module
from agent.dev_server import PATCHES, apply_patches, patch, queue, run_ends, run_events
from agent.dev_server.checkpoint_history import CHECKPOINT_HISTORY
from agent.dev_server.crons import CRONS, TIME_ZONES
from agent.dev_server.joined_streams import RUN_STREAM, THREAD_STREAM
from agent.dev_server.lists import LISTS
from agent.dev_server.patch import Patch
from agent.dev_server.queue import QUEUE
from agent.dev_server.run_ends import RUN_END, ask_for_end
from agent.dev_server.run_events import DROP_OLD_EVENTS
from agent.dev_server.run_limit import RUN_LIMIT
from agent.dev_server.threads import (
    ONE_DELETION_AT_A_TIME,
    ONE_RUN_AT_A_TIME,
    RUNS_END_BEFORE_THEIR_THREAD,
    stopped_worker_left,
)
from agent.storage.checkpointer import ThreadFile


@pytest.fixture(scope="module", autouse=True)
def loadable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The server's modules can be imported outside of a server, and write into their own folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {"DATABASE_URI": ":memory:", "REDIS_URI": "fake"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MIGRATIONS_PATH", "__inmem")
        monkeypatch.setenv("LANGGRAPH_RUNTIME_EDITION", "inmem")
        monkeypatch.chdir(tmp_path_factory.mktemp("server"))
        import langgraph_runtime_inmem  # noqa: F401

        yield


def stand_in(path: str, **replaced: Any) -> Any:
    """A copy of a module of the server, whose classes can be patched without changing its own."""
    module = importlib.import_module(path)
    copies = {
        name: type(name, (value,), {"__module__": value.__module__})
        for name, value in vars(module).items()
        if isinstance(value, type) and name in ("Runs", "Threads", "Crons")
    }
    names = {name: value for name, value in vars(module).items() if name != patch._APPLIED}
    return SimpleNamespace(**{**names, **copies, **replaced})


def ops(**replaced: Any) -> Any:
    return stand_in("langgraph_runtime_inmem.ops", **replaced)


# what a patch declares


@pytest.mark.parametrize("it", PATCHES, ids=lambda it: it.name)
def test_each_patch_fits_the_installed_server(it: Patch) -> None:
    """When this fails, upstream has changed: look whether the patch is still needed."""
    assert it.mismatch(importlib.import_module(it.module)) is None


@pytest.mark.parametrize("it", PATCHES, ids=lambda it: it.name)
def test_each_patch_says_what_is_lost_without_it(it: Patch) -> None:
    """The log tells a person what the server lacks, and each patch replaces something."""
    assert it.loss
    assert it.replaces


def wrong_shapes() -> Iterator[Any]:
    for it in PATCHES:
        for path in it.replaces:
            for kind in ("missing", "parameters", "body"):
                yield pytest.param(it, path, kind, id=f"{it.name}-{path}-{kind}")
        for path in it.needs:
            yield pytest.param(it, path, "missing", id=f"{it.name}-{path}-missing")


async def another_body(**kwargs: Any) -> None:
    """Takes what the original takes, and does something else."""


@pytest.mark.parametrize(("it", "path", "kind"), list(wrong_shapes()))
def test_a_wrong_shape_is_left_alone(it: Patch, path: str, kind: str) -> None:
    """A function that is missing, takes something else or does something else stays as it is."""
    module = stand_in(it.module)
    *owners, name = path.split(".")
    owner = module
    for each in owners:
        copy = type(each, (getattr(owner, each),), {})
        setattr(owner, each, copy)
        owner = copy
    if kind == "missing":
        setattr(owner, name, None)
    elif kind == "parameters":
        setattr(owner, name, staticmethod(lambda something, different: None))
    else:
        fake: Any = staticmethod(another_body) if owners else another_body
        another_body.__signature__ = patch.inspect.signature(  # type: ignore[attr-defined]
            patch._find(importlib.import_module(it.module), path)
        )
        setattr(owner, name, fake)
    before = dict(vars(owner))
    assert it.apply_once(module) is not None
    assert dict(vars(owner)) == before


@pytest.mark.parametrize("it", PATCHES, ids=lambda it: it.name)
def test_another_release_is_left_alone(it: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that the patch was not written for is not patched, whatever it looks like."""
    monkeypatch.setattr(patch, "version", lambda package: "9.9.1")
    reason = it.apply_once(stand_in(it.module))
    assert reason is not None
    assert "9.9" in reason


def test_a_second_call_changes_nothing() -> None:
    """A patch that is applied is not applied on top of itself."""
    module = ops()
    assert ONE_RUN_AT_A_TIME.apply_once(module) is None
    once = module.Runs.enter
    assert ONE_RUN_AT_A_TIME.apply_once(module) is None
    assert module.Runs.enter is once


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What `apply_patches` logs."""
    from agent.dev_server import registry

    logged: list[str] = []
    log = SimpleNamespace(info=logged.append, warning=logged.append)
    monkeypatch.setattr(registry, "log", log)
    return logged


def test_what_is_applied_and_what_is_lost_is_logged(
    messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names what was applied; each patch that is skipped says why, and what is lost."""
    monkeypatch.setitem(sys.modules, QUEUE.module, ops(connect=None))
    apply_patches([QUEUE, ONE_RUN_AT_A_TIME])
    assert messages == [
        f"The patch 'queue' is skipped: {QUEUE.module} has no connect. Then {QUEUE.loss}.",
        "Patches of the dev server (STEADY_DEV_PATCHES=false: off): one run of a thread at a time.",
    ]


def test_all_are_off_where_a_setting_says_so(
    messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With STEADY_DEV_PATCHES=false nothing is patched, and the log says what is lost."""
    module = ops()
    monkeypatch.setitem(sys.modules, QUEUE.module, module)
    monkeypatch.setenv("STEADY_DEV_PATCHES", "false")
    settings_module.settings.cache_clear()
    before = dict(vars(module.Runs))
    apply_patches()
    settings_module.settings.cache_clear()
    assert dict(vars(module.Runs)) == before
    assert len(messages) == 1 + len(PATCHES)
    assert all(each.loss in " ".join(messages) for each in PATCHES)


# each is still needed, and does what it says


class Turns(TypedDict):
    messages: Annotated[
        list[str], DeltaChannel(lambda value, writes: [*value, *itertools.chain(*writes)])
    ]


async def reads_of_history(adapter: Any, saver: ThreadFile) -> tuple[Any, int]:
    """The history of a thread of ten turns through the adapter, and the checkpoints read for it."""
    builder = StateGraph(Turns)
    builder.add_node("answer", lambda state: {"messages": [f"answer {len(state['messages'])}"]})
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}
    for n in range(10):
        await graph.ainvoke({"messages": [f"question {n}"]}, config)
    reads, read = 0, saver.aget_tuple

    async def count(*args: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*args)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(saver, "aget_tuple", count)
        history = await adapter.aget_delta_channel_history(config=config, channels=["messages"])
    return [value for _, _, value in history["messages"]["writes"]], reads


async def test_the_adapter_still_reads_checkpoint_by_checkpoint(tmp_path: Path) -> None:
    """Unpatched, a history costs a read a checkpoint; patched one query, and it is the same."""
    from langgraph_api._checkpointer import _adapter

    original = _adapter._CustomCheckpointerAdapter
    copy = type("Copy", (original,), {})
    assert CHECKPOINT_HISTORY.apply_once(SimpleNamespace(_CustomCheckpointerAdapter=copy)) is None
    able = _adapter.CheckpointerCapabilities.from_type(ThreadFile)
    async with aiosqlite.connect(tmp_path / "threads.sqlite") as connection:
        saver = ThreadFile(connection)
        slow, reads = await reads_of_history(original(saver, able), saver)
        fast, patched_reads = await reads_of_history(copy(saver, able), saver)
    assert len(slow) >= 10
    assert slow == fast
    assert reads > 10
    assert patched_reads == 1


class Lists:
    """The in-memory server's lists, with what `Runs.next` takes besides."""

    def __init__(self, threads: list[UUID], runs: list[dict[str, Any]] | None = None) -> None:
        self.store: dict[str, list[Any]] = {
            "threads": [{"thread_id": at, "metadata": {}} for at in threads],
            "runs": runs or [],
            "crons": [],
        }
        self.retry_counter = self

    async def increment(self, run_id: UUID) -> int:
        return 1

    @asynccontextmanager
    async def connect(self) -> Any:
        yield self


def pending(thread_id: UUID, seconds_ago: float) -> dict[str, Any]:
    created = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return {
        "run_id": uuid4(), "thread_id": thread_id, "status": "pending", "created_at": created,
    }  # fmt: skip


async def taken(module: Any, limit: int) -> list[dict[str, Any]]:
    return [run async for run, _ in module.Runs.next(wait=False, limit=limit)]


async def test_runs_that_wait_on_a_busy_thread_still_hold_up_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unpatched, ten runs behind a busy thread fill the look; patched, a free thread's is found."""
    from langgraph_runtime_inmem import ops as original

    def crowded() -> Lists:
        busy, free = uuid4(), uuid4()
        running = {**pending(busy, 100), "status": "running"}
        return Lists(
            [busy, free], [running, *(pending(busy, 50) for _ in range(10)), pending(free, 1)]
        )

    lists = crowded()
    monkeypatch.setattr(original, "connect", lists.connect)
    assert await taken(original, 10) == []
    lists = crowded()
    module = ops(connect=lists.connect)
    assert QUEUE.apply_once(module) is None
    assert await taken(module, 10) == [lists.store["runs"][-1]]
    assert lists.store["runs"][-1]["status"] == "running"


async def test_a_thread_gives_one_run_and_the_oldest_comes_first() -> None:
    """Of several runs of a thread the oldest is taken, up to the limit, in the order of age."""
    ids = [uuid4() for _ in range(3)]
    runs = [
        pending(thread, age) for age, thread in ((1, ids[0]), (3, ids[1]), (2, ids[1]), (4, ids[2]))
    ]
    module = ops(connect=Lists(ids, runs).connect)
    assert QUEUE.apply_once(module) is None
    assert await taken(module, 2) == [runs[3], runs[1]]
    assert await taken(module, 2) == [runs[0]]


async def test_a_run_that_is_not_due_or_has_no_thread_is_not_taken() -> None:
    """Runs of the future and runs of threads that are gone wait, and hold up nobody."""
    thread = uuid4()
    runs = [pending(uuid4(), 5), pending(thread, -60), pending(thread, 1)]
    module = ops(connect=Lists([thread], runs).connect)
    assert QUEUE.apply_once(module) is None
    assert await taken(module, 5) == [runs[2]]


async def test_a_look_at_a_thousand_waiting_runs_is_cheap() -> None:
    """1,000 runs that wait on busy threads cost a look less than 5 ms."""
    busy = [uuid4() for _ in range(10)]
    runs = [{**pending(thread, 100), "status": "running"} for thread in busy]
    runs += [pending(busy[n % 10], 50) for n in range(1000)]
    module = ops(connect=Lists(busy, runs).connect)
    assert QUEUE.apply_once(module) is None
    looks = []
    for _ in range(20):
        began = time.perf_counter()
        assert await taken(module, 10) == []
        looks.append(time.perf_counter() - began)
    assert sorted(looks)[10] < 0.005


async def test_a_run_that_is_put_wakes_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the next look is an hour away, a run is found as soon as it is put."""
    monkeypatch.setattr(queue, "POLL_SECONDS", 3600.0)
    thread = uuid4()
    lists = Lists([thread])
    module = ops(connect=lists.connect)

    async def put(conn: Lists, run: dict[str, Any]) -> dict[str, Any]:
        conn.store["runs"].append(run)
        return run

    queue._apply(module)
    module.Runs.put = staticmethod(put)
    queue._apply(module)
    looking = asyncio.create_task(anext(module.Runs.next(True)))
    await asyncio.sleep(0)  # it waits now
    run = pending(thread, 1)
    assert await module.Runs.put(lists, run) is run
    async with asyncio.timeout(60):
        assert await looking == (run, 1)


async def left_of_three(threads: Any) -> list[int]:
    """What is left of three threads when the first two are deleted at once."""
    ids = [uuid4() for _ in range(3)]
    lists = Lists(ids)
    await asyncio.gather(*(threads.delete(lists, at) for at in ids[:2]), return_exceptions=True)
    return [ids.index(thread["thread_id"]) for thread in lists.store["threads"]]


async def test_deletions_still_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpatched, two deletions at once remove a thread that nobody named; patched, they do not."""
    from langgraph_runtime_inmem import ops as original

    async def slowly(*args: Any) -> None:
        await asyncio.sleep(0.01)

    monkeypatch.setattr(original, "_delete_checkpoints_for_thread", slowly)
    assert await left_of_three(original.Threads) == [1]
    module = ops()
    assert ONE_DELETION_AT_A_TIME.apply_once(module) is None
    assert await left_of_three(module.Threads) == [2]


async def worker_is_left_behind(module: Any) -> bool:
    """Whether a run's worker still is at work when its thread has been deleted."""
    thread_id, run_id = uuid4(), uuid4()
    lists = Lists([thread_id])
    lists.store["threads"][0]["status"] = "busy"
    run = {"thread_id": thread_id, "run_id": run_id, "status": "running", "kwargs": {}}
    lists.store["runs"].append(run)
    began = asyncio.Event()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        async with module.Runs.enter(run_id, thread_id, loop, False) as done:
            began.set()
            await done.wait()

    worker = asyncio.create_task(work())
    await began.wait()
    await module.Threads.delete(lists, thread_id)
    assert lists.store["threads"] == []
    is_left = not worker.done()
    worker.cancel()
    return is_left


async def test_a_deleted_threads_worker_still_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpatched, a thread's run goes on after its thread; patched, it has ended before."""
    from langgraph_runtime_inmem import inmem_stream
    from langgraph_runtime_inmem import ops as original

    async def nothing(*args: Any) -> None:
        pass

    await inmem_stream.start_stream()
    monkeypatch.setattr(original, "_delete_checkpoints_for_thread", nothing)
    module = ops()
    assert ONE_RUN_AT_A_TIME.apply_once(module) is None
    assert await worker_is_left_behind(module)
    assert RUNS_END_BEFORE_THEIR_THREAD.apply_once(module) is None
    assert not await worker_is_left_behind(module)


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


async def test_runs_of_a_thread_still_overlap() -> None:
    """Unpatched, a run's worker begins while another's still ends; patched, they take turns."""
    from langgraph_runtime_inmem import inmem_stream
    from langgraph_runtime_inmem import ops as original

    await inmem_stream.start_stream()
    assert await most_at_once(original.Runs) == 3
    module = ops()
    assert ONE_RUN_AT_A_TIME.apply_once(module) is None
    assert await most_at_once(module.Runs) == 1


async def test_a_read_on_a_busy_loop_waits_for_a_run_that_was_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where 50 ms are two turns of the loop, and a run is cancelled some turns after that."""
    from langgraph_runtime_inmem import database, inmem_stream

    await inmem_stream.start_stream()
    thread, run_id, is_over = uuid4(), uuid4(), asyncio.Event()
    lists = Lists([thread], [{"run_id": run_id, "thread_id": thread, "status": "running"}])
    monkeypatch.setattr(database, "connect", lists.connect)
    module = ops()
    assert ONE_RUN_AT_A_TIME.apply_once(module) is None
    has_written = False

    async def keep_busy() -> None:
        while not is_over.is_set():
            time.sleep(0.03)  # noqa: ASYNC251
            await asyncio.sleep(0)

    async def leave() -> None:
        nonlocal has_written
        async with module.Runs.enter(run_id, thread, asyncio.get_running_loop(), False):
            for turn in range(20):
                if turn == 10:
                    lists.store["runs"][0]["status"] = "interrupted"
                await asyncio.sleep(0)
            has_written = True

    tasks = asyncio.create_task(keep_busy()), asyncio.create_task(leave())
    await asyncio.sleep(0)
    await stopped_worker_left(thread)
    assert has_written
    is_over.set()
    await asyncio.gather(*tasks)


async def created_within_limit(module: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of ten requests for a run pass a limit of one, when they arrive together."""
    from langgraph_runtime_inmem import ops as original

    lists, assistant = Lists([]), {"assistant_id": uuid4(), "graph_id": "agent"}
    lists.store["assistants"] = [
        {**assistant, "metadata": {"created_by": "system"}, "config": {}, "context": {}}
    ]

    async def authorize(*args: Any) -> None:
        count = len(lists.store["runs"])
        await asyncio.sleep(0.001)
        if count >= 1:
            raise HTTPException(429)

    monkeypatch.setattr(original.Runs, "handle_event", authorize)
    asked = {"metadata": {}, "prevent_insert_if_inflight": False, "if_not_exists": "create"}
    await asyncio.gather(
        *(
            module.Runs.put(
                lists, assistant["assistant_id"], {}, run_id=uuid4(), user_id="ada", **asked
            )
            for _ in range(10)
        ),
        return_exceptions=True,
    )
    return len(lists.store["runs"])


async def test_a_limit_of_runs_still_can_be_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without turns, requests that arrive together are all counted first; with them, one passes."""
    module = ops()
    assert await created_within_limit(module, monkeypatch) == 10
    assert RUN_LIMIT.apply_once(module) is None
    assert await created_within_limit(module, monkeypatch) == 1


async def runs_with_events(runs: Any, streams: Any) -> int:
    """Of how many runs there are events, when two of one thread have written some and ended."""
    thread, manager = uuid4(), streams.get_stream_manager()
    for run in (uuid4(), uuid4()):
        async with runs.enter(run, thread, asyncio.get_running_loop(), True):
            message = streams.Message(topic=f"run:{run}:stream".encode(), data=b"{}")
            await manager.put(run, thread, message, resumable=True)
    for _ in range(3):  # what is due now is done
        await asyncio.sleep(0)
    return len(manager.message_stores.get(thread, ()))


async def test_events_are_still_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpatched, the events of ended runs pile up; patched, they go when their time has passed."""
    from langgraph_runtime_inmem import inmem_stream
    from langgraph_runtime_inmem import ops as original

    await inmem_stream.start_stream()
    assert await runs_with_events(original.Runs, inmem_stream) == 2
    monkeypatch.setattr(run_events, "KEPT_SECONDS", 0.0)
    module = ops(get_stream_manager=inmem_stream.get_stream_manager)
    assert DROP_OLD_EVENTS.apply_once(module) is None
    assert await runs_with_events(module.Runs, inmem_stream) == 0


async def joined_thread(ops: Any, streams: Any) -> list[bytes]:
    """What a reader is given of a thread with one ended run and one that goes on meanwhile."""
    from langgraph_api.utils.stream_codec import STREAM_CODEC

    thread, ended, going, later = (uuid4() for _ in range(4))
    lists = Lists([thread], [{"thread_id": thread, "run_id": run} for run in (ended, going)])
    manager = streams.get_stream_manager()

    async def put(run: UUID, text: bytes) -> None:
        data = STREAM_CODEC.encode("values", text)
        message = streams.Message(topic=f"run:{run}:stream".encode(), data=data)
        await manager.put(run, thread, message, resumable=True)

    async def admit(*_: Any) -> None:
        pass

    ops.connect, ops.Threads.Stream.check_thread_stream_auth = lists.connect, staticmethod(admit)
    await put(ended, b"1")
    await put(going, b"2")
    read = list[bytes]()
    joined = ops.Threads.Stream.join_event_streaming(
        thread, last_event_id="-", stream_modes=["run_modes"]
    )
    async with asyncio.timeout(60), aclosing(joined):
        async for _, data, _, _ in joined:
            read.append(data)
            if data == b"1":  # written while earlier events are replayed
                await put(going, b"3")
            elif data == b"2":
                lists.store["runs"].append({"thread_id": thread, "run_id": later})
                await put(later, b"4")  # a new run, before the server has looked for it
                asyncio.get_running_loop().call_later(0.1, asyncio.create_task, put(later, b"5"))
            elif data == b"5":
                break
    return read


async def test_a_thread_stream_still_has_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpatched, a reader misses what is written during the replay; patched, nothing."""
    from langgraph_runtime_inmem import inmem_stream
    from langgraph_runtime_inmem import ops as original

    await inmem_stream.start_stream()
    monkeypatch.setattr(original, "connect", original.connect)
    threads = type("Threads", (original.Threads,), {"__module__": original.__name__})
    monkeypatch.setattr(original, "Threads", threads)
    threads.Stream = type("Stream", (threads.Stream,), {})  # type: ignore[misc]
    assert await joined_thread(original, inmem_stream) == [b"1", b"2", b"5"]
    THREAD_STREAM.apply(original)
    assert await joined_thread(original, inmem_stream) == [b"1", b"2", b"3", b"4", b"5"]


async def joined_run(ops: Any, streams: Any) -> list[bytes]:
    """What a reader is given of a run that writes while its beginning is replayed."""
    from langgraph_api.utils.stream_codec import STREAM_CODEC

    run, thread = uuid4(), uuid4()
    manager = streams.get_stream_manager()

    async def put(text: bytes) -> None:
        data = STREAM_CODEC.encode("values", text)
        message = streams.Message(topic=f"run:{run}:stream".encode(), data=data)
        await manager.put(run, thread, message, resumable=True)

    async def admit(*_: Any) -> None:
        pass

    async def get(*_: Any, **options: Any) -> AsyncIterator[dict[str, Any]]:
        async def found() -> AsyncIterator[dict[str, Any]]:
            yield {"status": "running", "kwargs": {"resumable": True}}

        return found()

    ops.connect, ops.Runs.get = Lists([thread]).connect, staticmethod(get)
    ops.Runs.Stream.check_run_stream_auth = staticmethod(admit)
    await put(b"1")
    queue = await ops.Runs.Stream.subscribe(run, thread)
    await put(b"2")
    read = list[bytes]()
    joined = ops.Runs.Stream.join(
        run, stream_channel=queue, thread_id=thread, last_event_id="-", stream_mode="values"
    )
    async with asyncio.timeout(60), aclosing(joined):
        async for _, data, _ in joined:
            read.append(data)
            if data == b"2" and b"3" not in read:
                await put(b"3")
                asyncio.get_running_loop().call_later(0.1, asyncio.create_task, put(b"4"))
            elif data == b"4":
                break
    return read


async def test_a_run_stream_still_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpatched, what is written before and during the replay comes twice; patched, once."""
    from langgraph_runtime_inmem import inmem_stream
    from langgraph_runtime_inmem import ops as original

    await inmem_stream.start_stream()
    monkeypatch.setattr(original, "connect", original.connect)
    runs = type("Runs", (original.Runs,), {"__module__": original.__name__})
    monkeypatch.setattr(original, "Runs", runs)
    runs.Stream = type("Stream", (runs.Stream,), {})  # type: ignore[misc]
    unpatched = await joined_run(original, inmem_stream)
    assert len(unpatched) > len(set(unpatched))
    RUN_STREAM.apply(original)
    assert await joined_run(original, inmem_stream) == [b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("is_asked", "status", "end"),
    [(True, "success", [(b"end", b'{"status":"success"}', None)]), (True, "running", []),
     (False, "success", [])],
)  # fmt: skip
async def test_a_runs_stream_tells_its_end(
    monkeypatch: pytest.MonkeyPatch, is_asked: bool, status: str, end: list[Any]
) -> None:
    """Behind all other parts, to who asks for it, and never of a run that goes on."""
    run, thread = uuid4(), uuid4()
    lists = Lists([thread], [{"run_id": run, "status": status}])
    original = with_run_end(monkeypatch, lists)
    if not is_asked:
        monkeypatch.setattr(original, patch._APPLIED, set())
    assert ask_for_end() is is_asked
    told = [part async for part in original.Runs.Stream.join(str(run))]
    assert told == [(b"values", b"1", b"1-0"), *end]


@pytest.mark.parametrize("refusal", [None, HTTPException(403)])
@pytest.mark.parametrize("status", ["success", "error", "interrupted"])
@pytest.mark.parametrize("characters", [1, run_ends.LARGEST_STATE_BYTES])
async def test_the_end_of_a_run_that_succeeded_tells_the_threads_state(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception | None, status: str, characters: int
) -> None:
    """To who asks for it and may read it, if it is not large: others ask by a request."""
    run, thread, reader = uuid4(), uuid4(), object()
    original = with_run_end(monkeypatch, Lists([thread], [{"run_id": run, "status": status}]))
    values = {"text": "a" * characters}

    async def state(_: Any, config: Any, ctx: Any) -> Any:
        assert (config, ctx) == ({"configurable": {"thread_id": str(thread)}}, reader)
        if refusal is not None:
            raise refusal
        return StateSnapshot(values, (), config, None, None, None, (), ())

    original.Threads.State = SimpleNamespace(get=state)
    assert ask_for_end(with_state=True)
    joined = original.Runs.Stream.join(run, thread_id=thread, ctx=reader)
    *_, (name, data, _) = [part async for part in joined]
    told = orjson.loads(data)
    assert (name, told["status"]) == (b"end", status)
    is_told = refusal is None and status == "success" and characters == 1
    assert ("state" in told) is is_told
    if is_told:
        assert told["state"]["values"] == values


def with_run_end(monkeypatch: pytest.MonkeyPatch, lists: Lists) -> Any:
    """The server's module with these lists, and with streams of one part that tell their end."""
    from langgraph_runtime_inmem import ops as original

    monkeypatch.setattr(original, "connect", lists.connect)
    for name in ("Runs", "Threads"):
        kind = getattr(original, name)
        copy = type(name, (kind,), {"__module__": original.__name__})
        monkeypatch.setattr(original, name, copy)
    runs: Any = original.Runs
    runs.Stream = type("Stream", (runs.Stream,), {})

    async def join(run_id: UUID, **_: Any) -> AsyncIterator[tuple[bytes, bytes, bytes]]:
        yield b"values", b"1", b"1-0"

    runs.Stream.join = staticmethod(join)
    RUN_END.apply(original)
    monkeypatch.setattr(original, patch._APPLIED, {RUN_END.name}, raising=False)
    return original


def cron(**changed: Any) -> dict[str, Any]:
    due = datetime.now(UTC) - timedelta(minutes=1)
    return {
        "cron_id": uuid4(), "enabled": True, "end_time": None, "schedule": "* * * * *",
        "next_run_date": due, "payload": {}, **changed,
    }  # fmt: skip


async def due_crons(module: Any, crons: list[dict[str, Any]]) -> list[Any]:
    lists = Lists([])
    lists.store["crons"] = crons
    return [each["cron_id"] async for each in module.Crons.next(lists)]


FAULTY = [
    {"end_time": "not a date"},
    {"schedule": "0 0 30 2 *"},
    {"timezone": "America"},
    {"next_run_date": None},
]


async def test_one_cron_still_stops_all_others() -> None:
    """Unpatched, a cron whose end is text stops those after it; patched, they all come."""
    from langgraph_runtime_inmem import ops as original

    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    first, second = cron(end_time=later), cron()
    with pytest.raises(TypeError):
        await due_crons(original, [first, second])
    module = ops()
    assert CRONS.apply_once(module) is None
    assert await due_crons(module, [first, second]) == [first["cron_id"], second["cron_id"]]


@pytest.mark.parametrize("fault", FAULTY, ids=str)
async def test_a_faulty_cron_is_disabled_and_the_others_come(fault: dict[str, Any]) -> None:
    """Rows that an older server stored wrongly are disabled, one by one."""
    module = ops()
    assert CRONS.apply_once(module) is None
    faulty, good = cron(**fault), cron()
    assert await due_crons(module, [faulty, good]) == [good["cron_id"]]
    assert not faulty["enabled"]
    assert good["enabled"]


async def test_a_cron_comes_once_and_not_after_its_end() -> None:
    """A cron that is due is handed out once; one whose end has passed is not."""
    module = ops()
    assert CRONS.apply_once(module) is None
    over = cron(end_time=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    crons = [cron(), over]
    assert await due_crons(module, crons) == [crons[0]["cron_id"]]
    assert await due_crons(module, crons) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "0 0 30 2 *"},
        {"schedule": "61 * * * *"},
        {"end_time": "soon"},
        {"timezone": "America"},
    ],
    ids=str,
)
async def test_a_refused_change_of_a_cron_stores_nothing(changes: dict[str, Any]) -> None:
    """A change that could never run is answered with 422, and the cron stays as it was."""
    module = ops()
    assert CRONS.apply_once(module) is None
    stored = cron(metadata={}, timezone=None)
    before, lists = dict(stored), Lists([])
    lists.store["crons"] = [stored]
    with pytest.raises(HTTPException) as refused:
        await module.Crons.update(lists, cron_id=stored["cron_id"], **changes)
    assert refused.value.status_code == 422
    assert stored == before


@pytest.mark.parametrize("zone", ["America", "../etc/passwd", "/etc/passwd", "a\0b"])
def test_a_wrong_time_zone_still_breaks_the_server(zone: str) -> None:
    """Unpatched, some wrong time zones raise what becomes a status of 500; patched, it is 422."""
    from langgraph_api.api import runs

    with pytest.raises((OSError, ValueError)):
        runs.validate_timezone(zone)
    module = stand_in("langgraph_api.api.runs")
    assert TIME_ZONES.apply_once(module) is None
    with pytest.raises(HTTPException) as refused:
        module.validate_timezone(zone)
    assert refused.value.status_code == 422
    assert module.validate_timezone("Europe/Paris") == "Europe/Paris"
    assert module.validate_timezone(None) is None


class FullDisk(PersistentDict):
    """A list on a disk that is full while `is_full`."""

    is_full = False
    writes = 0

    def sync(self) -> None:
        self.writes += 1
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().sync()


@pytest.fixture
def persistence() -> Iterator[Any]:
    """A copy of the server's writing of lists, which looks every hundredth of a second."""
    source = importlib.import_module("langgraph_runtime_inmem._persistence")
    spec = importlib.util.spec_from_file_location("persistence_copy", source.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["persistence_copy"] = module
    spec.loader.exec_module(module)
    module._flush_interval = 0.01
    yield module
    module.stop_flush_loop()
    del sys.modules["persistence_copy"]


def wait_for(condition: Any) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_still_ends_the_writing(persistence: Any, tmp_path: Path) -> None:
    """Unpatched, the thread that writes ends at the first error."""
    stored = FullDisk(int, filename=str(tmp_path / "list.pckl"))
    stored["a"], stored.is_full = 1, True
    persistence.register_persistent_dict(stored)
    assert wait_for(lambda: not persistence._flush_thread[1].is_alive())


def test_a_list_is_written_again_after_a_full_disk(
    persistence: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patched, a write that failed is tried again; the health check tells as long as it fails."""
    from langgraph_runtime_inmem import database

    monkeypatch.setattr(database, "dependency_checks", database.dependency_checks)
    path = tmp_path / "list.pckl"
    stored = FullDisk(int, filename=str(path))
    stored["a"], stored.is_full = 1, True
    persistence.register_persistent_dict(stored)
    assert LISTS.apply_once(persistence) is None
    assert wait_for(lambda: stored.writes >= 3)
    check = database.dependency_checks()["lists"]
    with pytest.raises(Exception, match=r"list\.pckl"):
        asyncio.run(check())
    stored.is_full = False
    assert wait_for(path.exists)
    assert wait_for(lambda: asyncio.run(_is_good(check)))


async def _is_good(check: Any) -> bool:
    try:
        await check()
    except Exception:
        return False
    return True


def test_a_list_that_is_empty_at_first_is_written_later(persistence: Any, tmp_path: Path) -> None:
    """Unpatched, a list that is empty at a look is dropped for good; patched, it is written."""
    first = FullDisk(int, filename=str(tmp_path / "first.pckl"))
    persistence.register_persistent_dict(first)
    assert wait_for(lambda: not persistence._stores)
    assert LISTS.apply_once(persistence) is None
    second = FullDisk(int, filename=str(tmp_path / "second.pckl"))
    persistence.register_persistent_dict(second)
    assert wait_for(lambda: second.writes >= 2)
    second["a"] = 1
    before = second.writes
    assert wait_for(lambda: second.writes > before + 1)
    again = PersistentDict(int, filename=second.filename)
    again.load()
    assert dict(again) == {"a": 1}


logging.getLogger("langgraph_runtime_inmem").setLevel(logging.ERROR)
