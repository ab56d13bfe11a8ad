"""The file that threads are kept in, and the database."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import START, StateGraph

from agent.middleware.thread_state import ThreadState
from agent.settings import settings
from agent.storage.checkpointer import ThreadFile, checkpointer
from agent.storage.postgres import ThreadDatabase
from tests.scale.storage import Postgres, missing

Saver = ThreadFile | ThreadDatabase


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    if reason := missing():
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(autouse=True, params=["file", "database"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    path = tmp_path / "new folder" / "threads.sqlite"
    monkeypatch.setenv("STEADY_THREADS_FILE", str(path))
    if request.param == "database":
        monkeypatch.setenv("STEADY_POSTGRES_URI", request.getfixturevalue("postgres").uri)
    settings.cache_clear()
    empty()
    yield
    settings.cache_clear()


def empty() -> None:
    if uri := settings().steady_postgres_uri:
        with psycopg.connect(uri.get_secret_value()) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    else:
        settings().steady_threads_file.unlink(missing_ok=True)


@checkpointer_test(name="ours")
async def ours() -> AsyncIterator[Saver]:
    empty()
    async with checkpointer() as saver:
        yield saver


async def test_it_keeps_the_contract_of_checkpointers() -> None:
    """LangGraph's conformance suite passes, with copies and rolled back runs."""
    report = await validate(ours)
    report.print_report()
    assert report.passed_all_base()
    assert report.results["delete_for_runs"].passed
    assert report.results["copy_thread"].passed


def echo(state: ThreadState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"heard {state['messages'][-1].text}")]}


def graph(saver: Saver) -> Any:
    built = StateGraph(ThreadState).add_node("echo", echo).add_edge(START, "echo")
    return built.compile(checkpointer=saver)


async def say(saver: Saver, thread_id: str, text: str, run_id: str) -> None:
    config = {"configurable": {"thread_id": thread_id}, "metadata": {"run_id": run_id}}
    await graph(saver).ainvoke({"messages": [HumanMessage(text)]}, config)


async def texts(saver: Saver, thread_id: str) -> list[str]:
    state = await graph(saver).aget_state({"configurable": {"thread_id": thread_id}})
    messages: list[AnyMessage] = state.values.get("messages", [])
    return [message.text for message in messages]


async def test_what_was_written_is_there_for_the_next_process() -> None:
    """Another connection to the same place reads the thread as it was."""
    async with checkpointer() as saver:
        await say(saver, "a", "one", "run 1")
    async with checkpointer() as again:
        assert await texts(again, "a") == ["one", "heard one"]


async def test_a_run_rolled_back_leaves_what_was_before() -> None:
    """A run's steps are deleted, no other run's and no other thread's."""
    async with checkpointer() as saver:
        await say(saver, "a", "one", "run 1")
        await say(saver, "a", "two", "run 2")
        await say(saver, "b", "three", "run 3")
        await saver.adelete_for_runs(["run 2", "unknown"])
        assert await texts(saver, "a") == ["one", "heard one"]
        assert await texts(saver, "b") == ["three", "heard three"]


async def test_a_copied_thread_goes_its_own_way() -> None:
    """The copy has the whole thread, and what is said there stays there."""
    async with checkpointer() as saver:
        await say(saver, "a", "one", "run 1")
        await saver.acopy_thread("a", "b")
        await say(saver, "b", "two", "run 2")
        assert await texts(saver, "a") == ["one", "heard one"]
        assert await texts(saver, "b") == ["one", "heard one", "two", "heard two"]


async def test_two_writers_wait_for_each_other() -> None:
    """Connections that write at once are served one after the other, none fails."""
    async with checkpointer() as one, checkpointer() as other:
        said = [say(saver, f"{n}{n % 2}", "x", "r") for n, saver in enumerate([one, other] * 20)]
        await asyncio.gather(*said)
        for n in range(40):
            assert await texts(one, f"{n}{n % 2}") == ["x", "heard x"]


async def test_the_latest_metadata_of_each_thread() -> None:
    """What a thread's row is restored from is the newest run's."""
    async with checkpointer() as saver:
        await say(saver, "a", "one", "run 1")
        await say(saver, "a", "two", "run 2")
        await say(saver, "b", "three", "run 3")
        found = await saver.threads()
    assert {thread: told["run_id"] for thread, told in found.items()} == {
        "a": "run 2",
        "b": "run 3",
    }


async def test_an_owner_is_a_runs_alone() -> None:
    """An owner that is sent with a state, as a checkpoint's field or alone, is not believed."""
    forged = {"owner": "alice", "run_id": "run 9", "source": "loop"}
    async with checkpointer() as saver:
        at: Any = {"configurable": {"thread_id": "a"}, "metadata": {"owner": "eve"}}
        await graph(saver).ainvoke({"messages": [HumanMessage("one")]}, at)
        for thread_id in ("a", "b"):
            update: Any = {"configurable": {"thread_id": thread_id, **forged}}
            await graph(saver).aupdate_state(update, {"messages": [HumanMessage("x")]}, "echo")
        found = await saver.threads()
    assert {thread: row["owner"] for thread, row in found.items()} == {"a": "eve"}


async def test_a_deletion_is_noted() -> None:
    """The thread is gone and its deletion is known to the next process, until it is forgotten."""
    began = time.time()
    async with checkpointer() as saver:
        await say(saver, "a", "one", "run 1")
        await say(saver, "b", "two", "run 2")
        await saver.adelete_thread("a")
        assert await texts(saver, "a") == []
    async with checkpointer() as again:
        noted = await again.deleted_threads()
        assert noted.keys() == {"a"}
        assert began <= noted["a"] <= time.time()
        await again.forget_deleted(["a", "unknown"])
        assert await again.deleted_threads() == {}
        assert await texts(again, "b") == ["two", "heard two"]
