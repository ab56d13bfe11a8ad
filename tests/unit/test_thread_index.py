"""A thread and its runs are found by an index, as a search would find them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.dev_server.thread_index import THREAD_INDEX, of_thread
from tests.unit.test_dev_patches import Lists, loadable, ops  # noqa: F401 - a fixture

ASSISTANT = {
    "assistant_id": uuid4(),
    "graph_id": "agent",
    "metadata": {"created_by": "system"},
    "config": {},
    "context": {},
}


class Searched(list[Any]):
    """A list that counts how often it is gone through."""

    searches = 0

    def __iter__(self) -> Iterator[Any]:
        self.searches += 1
        return super().__iter__()


def lists(threads: list[UUID], runs: list[dict[str, Any]]) -> Lists:
    """The server's lists of these threads and runs."""
    found = Lists(threads, Searched(runs))
    found.store["threads"] = Searched(
        {**thread, "status": "idle", "config": {}} for thread in found.store["threads"]
    )
    found.store["assistants"] = [ASSISTANT]
    return found


def run_of(thread_id: UUID, status: str = "running") -> dict[str, Any]:
    return {
        "run_id": uuid4(), "thread_id": thread_id, "status": status, "created_at": datetime.now(UTC)
    }  # fmt: skip


def searches(them: Lists) -> int:
    return sum(them.store[name].searches for name in ("runs", "threads"))


def module(is_patched: bool) -> Any:
    found = ops()
    found.Threads.Stream = type("Stream", (found.Threads.Stream,), {})
    if is_patched:
        assert THREAD_INDEX.apply_once(found) is None
    return found


async def looked_up(found: Any, them: Lists, run: dict[str, Any]) -> list[Any]:
    """What each function of the server makes of one thread and its run, among others."""
    thread, run_id = run["thread_id"], run["run_id"]
    put = await found.Threads.put(them, thread, metadata={}, if_exists="do_nothing")
    got = await found.Runs.get(them, str(run_id), thread_id=thread)
    asked = {"metadata": {}, "prevent_insert_if_inflight": True, "thread_id": thread}
    refused = await found.Runs.put(them, ASSISTANT["assistant_id"], {}, run_id=uuid4(), **asked)
    queues = await found.Threads.Stream.subscribe(them, thread, set())
    seen = [
        await found.Threads._get_with_filters(them, str(thread), {}),
        [each async for each in put],
        [each async for each in got],
        [each async for each in refused],
        [each for each, _ in queues],
    ]
    await found.Threads.set_status(them, thread, None, None)
    seen.append(them.store["threads"][1]["status"])
    await found.Threads.set_joint_status(them, thread, run_id, "success", "agent")
    return [*seen, them.store["threads"][1]["status"], run["status"]]


async def test_each_lookup_still_is_a_search() -> None:
    """Unpatched, each goes through all runs and threads; patched, none does, and finds the same."""
    for is_patched in (False, True):
        threads = [uuid4() for _ in range(3)]
        run = run_of(threads[1])
        them = lists(threads, [run_of(threads[0]), run, run_of(threads[2])])
        seen = await looked_up(module(is_patched), them, run)
        assert seen[2:4] == [[run], [run]]
        assert seen[5:] == ["busy", "idle", "success"]
        assert (searches(them) == 0) is is_patched


async def test_a_run_that_is_put_is_listed() -> None:
    """A run of a thread, one that makes its thread, and one that names none go into the lists."""
    found, thread = module(is_patched=True), uuid4()
    them = lists([thread], [])
    asked = {"metadata": {}, "prevent_insert_if_inflight": True, "if_not_exists": "create"}
    for thread_id in (thread, uuid4(), None):
        more = {**asked, "thread_id": thread_id, "run_id": uuid4()}
        runs = [
            run async for run in await found.Runs.put(them, ASSISTANT["assistant_id"], {}, **more)
        ]
        assert them.store["runs"][-1] is runs[0]
        assert them.store["threads"][-1]["thread_id"] == runs[0]["thread_id"]
    assert len(them.store["runs"]) == len(them.store["threads"]) == 3


async def test_a_run_that_is_rolled_back_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread's other runs, and those of others, are still in the list."""
    from langgraph_runtime_inmem import ops as original

    async def nothing(*args: Any, **kwargs: Any) -> None:
        """There are no checkpoints."""

    found, threads = module(is_patched=True), [uuid4(), uuid4()]
    monkeypatch.setattr(original, "_delete_checkpoints_for_thread", nothing)
    monkeypatch.setattr(original, "Runs", found.Runs)
    runs = [run_of(thread, "success") for thread in (*threads, threads[1])]
    them = lists(threads, list(runs))
    gone = runs[1]
    await found.Threads.set_joint_status(them, threads[1], gone["run_id"], "rollback", "agent")
    assert them.store["runs"] == [runs[0], runs[2]]


STEPS = st.sampled_from(["append", "replace", "delete", "new", "look"])


@given(st.lists(st.tuples(STEPS, st.integers())))
def test_the_index_finds_what_a_search_finds(steps: list[tuple[str, int]]) -> None:
    """Whatever the server does to a list between two looks, and however often."""
    threads = [UUID(int=n) for n in range(3)]
    store: dict[str, list[Any]] = {"runs": []}
    for what, number in [*steps, ("look", 0)]:
        items, at = store["runs"], number % max(len(store["runs"]), 1)
        if what == "append":
            items.append(run_of(threads[number % 3]))
        elif what == "replace" and items:
            items[at] = dict(items[at])
        elif what == "delete" and items:
            del items[at]
        elif what == "new":
            store["runs"] = [run for run in items if run["thread_id"] != threads[number % 3]]
        elif what == "look":
            for thread in threads:
                found = of_thread(store, "runs", thread)
                assert [id(run) for run in found] == [
                    id(run) for run in store["runs"] if run["thread_id"] == thread
                ]
