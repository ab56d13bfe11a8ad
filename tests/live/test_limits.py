"""Time limits of a stream: each ends in its own error, and the run can be stopped or joined."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client import (
    AgentClient,
    CannotConnect,
    ConnectionLost,
    FirstEventTimedOut,
    IdleTimedOut,
    Limits,
    RunTimedOut,
    SteadyError,
    Token,
)
from client.cli.local_server import LocalServer, free_port

THREAD = "00000000-0000-4000-8000-000000000002"
RUN = "/threads/t/runs/00000000-0000-4000-8000-000000000001"
HEAD = (
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    f"content-location: {RUN}\r\nconnection: close\r\n\r\n"
).encode()
METADATA = b'event: metadata\r\ndata: {"run_id":"r","attempt":1}\r\nid: 1-0\r\n\r\n'
HEARTBEAT = b": heartbeat\r\n\r\n"


@asynccontextmanager
async def server_that_sends(first: bytes, then: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers each request with `first`, then with `then` for ever; its URL, and the requests."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(HEAD + first)
        gone = asyncio.ensure_future(reader.read())
        while not gone.done():
            writer.write(then)
            await asyncio.wait([gone], timeout=0.02)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


@asynccontextmanager
async def server_that_falls_silent(first: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answers the first request with `first`, and no other; its URL, and the requests."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if len(requests) == 1 and first is not None:
            writer.write(HEAD + first)
        else:
            await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


async def failure(url: str, limits: Limits) -> SteadyError:
    async with (
        asyncio.timeout(60),
        AgentClient(url, limits=limits) as agent,
        agent.stream("Hello?") as run,
    ):
        with pytest.raises(SteadyError) as caught:
            await run.text()
    return caught.value


async def test_a_run_that_never_begins_times_out() -> None:
    """Heartbeats are life, not progress: without a first event the stream ends in its own error."""
    async with server_that_sends(b"", HEARTBEAT) as (url, _):
        error = await failure(url, Limits(first_event_seconds=1.5, heartbeat_timeout_seconds=5))
    assert type(error) is FirstEventTimedOut
    assert error.run_id == RUN.rpartition("/")[2]
    assert "1.5 s" in error.message


async def test_a_silent_run_times_out() -> None:
    """A run that falls silent between two events ends in an error of its own, heartbeats or not."""
    async with server_that_sends(METADATA, HEARTBEAT) as (url, _):
        error = await failure(url, Limits(idle_timeout_seconds=1.5, heartbeat_timeout_seconds=5))
    assert type(error) is IdleTimedOut
    assert str(error.last_event_id).startswith("1-0/1/1/")


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (Limits(run_seconds=2.0), RunTimedOut),
        (Limits(idle_timeout_seconds=2.0), IdleTimedOut),
    ],
)
async def test_a_server_that_no_longer_answers_times_out(
    limits: Limits, kind: type[RunTimedOut]
) -> None:
    """The limits hold for all that a stream waits for, such as the status of the run it had."""
    async with server_that_falls_silent(METADATA) as (url, requests):
        error = await failure(url, limits)
    assert type(error) is kind
    assert error.run_id == RUN.rpartition("/")[2]
    assert [request.split()[0] for request in requests] == [b"POST", b"GET"]


async def test_what_is_done_before_a_run_has_the_limits_too() -> None:
    """Where the runs that are in the way cannot be listed, the stream ends in its own error."""
    limits = Limits(first_event_seconds=1.5)
    async with (
        asyncio.timeout(60),
        server_that_falls_silent(None) as (url, requests),
        AgentClient(url, limits=limits) as agent,
        agent.stream("Hello?", thread_id=THREAD, multitask_strategy="interrupt") as run,
    ):
        with pytest.raises(FirstEventTimedOut):
            await run.text()
    assert len(requests) == 1


async def test_a_dead_connection_is_made_anew() -> None:
    """A connection without even a heartbeat is replaced, until the reconnect limit passes."""
    async with server_that_sends(METADATA, b"") as (url, requests):
        error = await failure(url, Limits(heartbeat_timeout_seconds=0.2, reconnect_seconds=3.0))
    assert type(error) is ConnectionLost
    assert len(requests) > 2
    assert all(b"last-event-id: -1" in request.lower() for request in requests[1:])


async def test_nobody_there_is_told_within_the_connect_limit() -> None:
    """Where nothing listens, tries end with the connect limit and the error that says so."""
    error = await failure(f"http://127.0.0.1:{free_port()}", Limits(connect_seconds=0.2))
    assert type(error) is CannotConnect


async def test_a_whole_run_has_a_limit_and_goes_on_at_the_server(server: LocalServer) -> None:
    """Past `run_seconds` the stream ends; the run can still be joined, and cancelled."""
    limits = Limits(run_seconds=4.0)
    question = "stream 5000 tokens at 50 per second"
    async with AgentClient(server.url, limits=limits) as agent, agent.stream(question) as run:
        with pytest.raises(RunTimedOut) as caught:
            await run.text()
    error = caught.value
    assert type(error) is RunTimedOut
    assert error.text.startswith("word0")
    async with AgentClient(server.url) as agent:
        where = str(error.thread_id), str(error.run_id)
        assert (await agent.runs.get(*where))["status"] == "running"
        joined = agent.runs.join(*where, error.last_event_id)
        async with joined:
            async for event in joined:
                if isinstance(event, Token):
                    assert not event.content.startswith("word0")
                    await agent.runs.cancel(*where)
    assert joined.done
    assert joined.done.status == "stopped"


async def test_a_slow_readers_own_time_is_no_silence(server: LocalServer) -> None:
    """A reader that is busy for longer than the silence limit is not cut off for it."""
    limits = Limits(idle_timeout_seconds=3.0, heartbeat_timeout_seconds=3.0)
    async with (
        AgentClient(server.url, limits=limits) as agent,
        agent.stream("stream 100 tokens at 25 per second") as run,
    ):
        async for event in run:
            if isinstance(event, Token) and event.content.startswith("word0"):
                await agent.sdk.runs.join(str(run.thread_id), str(run.run_id))
        assert await run.text() == " ".join(f"word{n}" for n in range(100))
