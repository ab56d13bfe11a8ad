"""What a balancer and Prometheus are told of a server that cannot take more work."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall
from tests.prometheus import until


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalServer, ModelServer]]:
    """A server that runs one job at a time, and its own model, which may end."""
    folder = tmp_path_factory.mktemp("watched")
    with ModelServer() as model:
        env = server_env(model.url, STEADY_QUEUE_SECONDS="0.5")
        config = find_config(Path(__file__).parent)
        with LocalServer(config, env=env, folder=folder, jobs=1) as running:
            yield running, model


async def ready(url: str) -> tuple[int, list[str]]:
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.get("/ready")
    assert answer.json()["ready"] is answer.is_success
    return answer.status_code, answer.json()["failed"]


async def until_ready(url: str, holds: Callable[[tuple[int, list[str]]], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if holds(await ready(url)):
                return
            await asyncio.sleep(0.1)


async def test_a_server_is_ready(server: LocalServer, guarded: LocalServer) -> None:
    """Model, storage, disk and queue in order: 200, for whoever asks, with users or without."""
    for url in (server.url, guarded.url):
        await until_ready(url, lambda it: it == (200, []))


async def test_approvals_that_wait_are_counted(watched: tuple[LocalServer, ModelServer]) -> None:
    """A run that waits for a person is in the metrics until the person has decided."""
    server, model = watched
    note = ToolCall("save_note", {"title": "Counted", "text": "Tea."})
    model.on("Save this, counted.", Reply(tool_calls=(note,)), Reply("Saved."))
    name = "steady_approvals_waiting"
    await until(server.url, lambda it: name in it.samples and it.value(name) == 0)
    async with AgentClient(server.url) as agent:
        run = agent.stream("Save this, counted.")
        await run.text()
        await until(server.url, lambda it: it.value(name) == 1)
        await run.decide([{"type": "approve"}]).text()
        await until(server.url, lambda it: it.value(name) == 0)


async def test_what_fails_is_named(watched: tuple[LocalServer, ModelServer]) -> None:
    """A queue that is too long, which is counted, and a model that is gone: 503 and the name."""
    server, model = watched
    async with AgentClient(server.url) as agent:
        slow = asyncio.create_task(agent.stream("stream 900 tokens at 5 per second").text())
        await asyncio.to_thread(model.wait_for, lambda it: it.open_streams == 1)
        readers = [slow, *(asyncio.create_task(agent.stream("Hi.").text()) for _ in range(2))]
        await until_ready(server.url, lambda it: it == (503, ["queue"]))
        await until(server.url, lambda it: it.value("steady_runs_waiting") >= 1)
        model.hurry()
        await asyncio.gather(*readers)
        await until_ready(server.url, lambda it: it == (200, []))
    model.__exit__(None, None, None)
    await until_ready(server.url, lambda it: it == (503, ["model"]))
