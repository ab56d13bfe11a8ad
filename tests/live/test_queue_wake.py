"""The patch that wakes the in-memory queue, on the runtime that is installed."""

import asyncio
import statistics
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.dev_server import queue_wake
from client import AgentClient, RunStarted
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer

ROOT = Path(__file__).parents[2]


def test_the_runtime_still_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed runtime has the shape the patch knows; when it has not, look at it again."""
    for name, value in {"DATABASE_URI": ":memory:", "REDIS_URI": "fake"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MIGRATIONS_PATH", "__inmem")
    from langgraph_runtime_inmem import ops

    assert queue_wake.known(ops.Runs)


def test_another_shape_is_left_alone() -> None:
    """What does not look as it did is not patched."""

    class Runs:
        @staticmethod
        async def next(wait: bool) -> None: ...

        @staticmethod
        async def put() -> None: ...

    assert not queue_wake.known(Runs)


async def test_a_run_that_is_put_wakes_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the next look is an hour away, a run is found as soon as it is put."""
    monkeypatch.setattr(queue_wake, "POLL_SECONDS", 3600.0)
    waiting: list[tuple[str, int]] = []

    class Runs:
        @staticmethod
        async def next(wait: bool, limit: int = 1) -> AsyncIterator[tuple[str, int]]:
            assert not wait
            while waiting:
                yield waiting.pop()

        @staticmethod
        async def put(run: str) -> str:
            waiting.append((run, 1))
            return run

    queue_wake._patch(Runs)
    looking = asyncio.create_task(anext(Runs.next(True), None))
    await asyncio.sleep(0)  # it waits now
    assert await Runs.put("a run") == "a run"
    async with asyncio.timeout(10):
        assert await looking == ("a run", 1)


def test_it_is_said_in_the_log(server: LocalServer) -> None:
    """A server of this project says that the wake is on, and how many jobs it runs."""
    told = server.log.read_text()
    assert "Queue wake is on" in told
    assert "up to 10 jobs" in told


async def waits_ms(url: str, runs: int) -> list[int]:
    """How long each of some runs waited for its first event."""
    found = list[int]()
    async with AgentClient(url) as agent:
        for _ in range(runs + 1):
            async with agent.stream("unpatched") as run:
                async for event in run:
                    if isinstance(event, RunStarted):
                        found.append(run.elapsed_ms)
                assert await run.text() == "You said: unpatched"
    return found[1:]  # the first warms up


async def test_it_can_be_switched_off_and_is_still_worth_it(
    server: LocalServer, model: ModelServer, tmp_path: Path
) -> None:
    """With STEADY_QUEUE_WAKE=false the runtime is as it came: a run then waits for the next look.

    When it no longer waits there much longer than with the wake, upstream has mended it.
    """
    env = server_env(model.url, STEADY_QUEUE_WAKE="false")
    with LocalServer(find_config(ROOT), env=env, folder=tmp_path) as plain:
        unpatched, woken = await waits_ms(plain.url, 8), await waits_ms(server.url, 8)
        assert "Queue wake is on" not in plain.log.read_text()
    assert statistics.median(unpatched) > 2 * statistics.median(woken), (unpatched, woken)
