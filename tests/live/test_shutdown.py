"""A server that is stopped: what its open streams hear, and who is still served."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.live.test_websocket import say, talking, turn, until
from tests.model_server import ModelServer
from tests.prometheus import Scrape
from tests.sse_reader import JSON, ask, opened, text_of

AGENT, CHAT = "/agent/stream", "/chat/stream"
ENDLESS = "stream 900 tokens at 30 per second"
SLOW = "stream 60 tokens at 2 per second"
SHORT = "stream 60 tokens at 20 per second"
TEXT = " ".join(f"word{n}" for n in range(60))


@pytest.fixture
def mortal(model: ModelServer, tmp_path: Path) -> Iterator[LocalServer]:
    """A server that gives running runs a second."""
    yield from _server(model, tmp_path, "1")


@pytest.fixture
def patient(model: ModelServer, tmp_path: Path) -> Iterator[LocalServer]:
    """A server that gives running runs half a minute."""
    yield from _server(model, tmp_path, "30")


def _server(model: ModelServer, folder: Path, seconds: str) -> Iterator[LocalServer]:
    env = server_env(model.url, STEADY_SHUTDOWN_SECONDS=seconds)
    with LocalServer(find_config(Path(__file__)), env=env, folder=folder) as running:
        yield running


def terminate(server: LocalServer, number: signal.Signals = signal.SIGTERM) -> None:
    assert server.process
    os.kill(server.process.pid, number)


async def has_ended(server: LocalServer) -> None:
    assert server.process
    async with asyncio.timeout(60):
        await asyncio.to_thread(server.process.wait)


async def terminate_twice(server: LocalServer) -> None:
    """Signals that come too soon after one another are one."""
    terminate(server)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        while (await http.post(CHAT, json={"question": "Hello?"})).status_code != 503:
            pass
    terminate(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_each_open_stream_is_told(mortal: LocalServer, number: signal.Signals) -> None:
    """SSE, plain chat and WebSocket each end with `unavailable`, then as every stream ends."""
    async with (
        opened(mortal.url, AGENT, {"message": ENDLESS}) as agent,
        opened(mortal.url, CHAT, {"question": ENDLESS}) as chat,
        talking(mortal) as socket,
        talking(mortal) as idle,
    ):
        await say(socket, type="message", message=ENDLESS)
        await until(socket, "token")
        for stream in (agent, chat):
            await anext(stream)
        terminate(mortal, number)
        events = await agent.rest()
        assert [event["type"] for event in events[-2:]] == ["error", "done"]
        assert (events[-2]["code"], events[-2]["retryable"]) == ("unavailable", True)
        assert (await chat.rest())[-1]["code"] == "unavailable"
        heard = await turn(socket)
        assert [event["type"] for event in heard[-2:]] == ["error", "done"]
        assert heard[-2]["code"] == "unavailable"
        assert heard[-2]["event_id"]
        for each in (socket, idle):
            with pytest.raises(ConnectionClosed) as closed:
                await each.recv()
            assert closed.value.rcvd
            assert (closed.value.rcvd.code, "stopping" in closed.value.rcvd.reason) == (1012, True)
    await has_ended(mortal)


async def test_a_run_may_end(patient: LocalServer) -> None:
    """What runs when the server is told to stop is heard to its end; then the server stops."""
    async with opened(patient.url, AGENT, {"message": SHORT}) as agent, talking(patient) as socket:
        await say(socket, type="message", message=SHORT)
        await until(socket, "token")
        first = await anext(agent)
        terminate(patient)
        events = [first, *await agent.rest()]
        assert text_of(events) == TEXT
        assert events[-1]["status"] == "success"
        assert (await turn(socket))[-1]["status"] == "success"
    await has_ended(patient)


async def test_no_new_run_is_taken(patient: LocalServer, model: ModelServer) -> None:
    """While the last runs end, a new one is refused at once, with when to ask again."""
    async with opened(patient.url, AGENT, {"message": SLOW}) as agent:
        await anext(agent)
        terminate(patient)
        async with httpx.AsyncClient(base_url=patient.url, timeout=60) as http:
            bodies: dict[str, JSON] = {
                AGENT: {"message": "Hello?"},
                CHAT: {"question": "Hello?"},
                "/runs/wait": {"assistant_id": "agent", "input": {"messages": []}},
            }
            for path, body in bodies.items():
                answer = await http.post(path, json=body)
                while answer.status_code != 503:  # the signal is on its way
                    answer = await http.post(path, json=body)
                assert answer.headers["retry-after"]
                assert answer.headers["connection"] == "close"  # the next try may be another's
                assert path == "/runs/wait" or answer.json()["code"] == "unavailable"
        model.hurry()
        assert (await agent.rest())[-1]["status"] == "success"


async def test_a_second_signal_does_not_wait(patient: LocalServer) -> None:
    """Whoever cannot wait for the runs says so again: the streams are told at once."""
    async with opened(patient.url, AGENT, {"message": ENDLESS}) as agent:
        await anext(agent)
        await terminate_twice(patient)
        async with asyncio.timeout(60):
            assert (await agent.rest())[-2]["code"] == "unavailable"
    await has_ended(patient)


async def test_the_client_comes_back(mortal: LocalServer) -> None:
    """A script's stream goes on at the next server, without a word lost or doubled."""
    async with AgentClient(mortal.url) as agent:
        run = agent.stream(SHORT, restart_lost_run=True)
        await anext(run)
        terminate(mortal)
        await has_ended(mortal)
        mortal.start()
        assert await run.text() == TEXT


async def test_a_reader_of_the_routes_comes_back(patient: LocalServer, model: ModelServer) -> None:
    """What was told `unavailable` can be asked for with the last id, at the server that is back.

    The run counts as continued, and its first token there as no first token.
    """
    async with opened(patient.url, AGENT, {"message": SLOW}) as stream:
        arriving = stream.response.aiter_lines()
        lines = [await anext(arriving)]
        await terminate_twice(patient)
        lines += [line async for line in arriving]
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    await has_ended(patient)
    asked = len(model.requests)
    patient.start()
    headers = {"Last-Event-ID": ids[-1]}
    reading = asyncio.create_task(ask(patient.url, AGENT, {"message": "?"}, headers))
    await asyncio.to_thread(model.hurry, asked)
    events = await reading
    assert events[-1]["status"] == "success"
    assert text_of(events) == TEXT  # a retry took back what was read before
    scrape = await Scrape.of(patient.url)
    assert scrape.value("steady_runs_continued_total") == 1
    assert scrape.value("gen_ai_server_time_to_first_token_seconds_count") == 0
