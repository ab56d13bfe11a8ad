"""Events that go straight from a run to a reader in this process: as over the server's HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from agent.dev_server import straight_events
from agent.dev_server.straight_events import STRAIGHT_EVENTS
from agent.http.own_server import (
    _MOST_WAITING_BYTES,
    OWN_URL,
    OwnServerClient,
    OwnServerTransport,
)
from client.delivery.wire import Part, read_parts
from tests.unit.test_dev_patches import Lists, loadable, ops  # noqa: F401 - a fixture


class Server:
    """A run of the in-memory server, whose stream is served over ASGI."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from langgraph_api.sse import EventSourceResponse
        from langgraph_api.utils.stream_codec import STREAM_CODEC
        from langgraph_runtime_inmem import inmem_stream
        from langgraph_runtime_inmem import ops as original

        self.run, self.thread = uuid4(), uuid4()
        self.texts: list[bytes] = []  # what went over HTTP
        self._streams, self._codec = inmem_stream, STREAM_CODEC
        self._response = EventSourceResponse
        self.is_resumable = True
        monkeypatch.setattr(original, "connect", Lists([self.thread]).connect)
        runs = type("Runs", (original.Runs,), {"__module__": original.__name__})
        monkeypatch.setattr(original, "Runs", runs)
        runs.get = staticmethod(self._get)  # type: ignore[method-assign]
        runs.Stream = type("Stream", (runs.Stream,), {})  # type: ignore[misc]
        runs.Stream.check_run_stream_auth = staticmethod(self._check)  # type: ignore[method-assign]
        STRAIGHT_EVENTS.apply(original)
        self.stream = runs.Stream
        self.error: HTTPException | None = None

    async def _get(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        async def found() -> AsyncIterator[Any]:
            yield {"status": "running", "kwargs": {"resumable": self.is_resumable}}

        return found()

    async def _check(self, *_: Any) -> None:
        if self.error is not None:
            raise self.error

    async def put(self, name: str, data: bytes) -> None:
        message = self._streams.Message(
            topic=f"run:{self.run}:stream".encode(), data=self._codec.encode(name, data)
        )
        await self._streams.get_stream_manager().put(self.run, self.thread, message)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        queue = await self.stream.subscribe(self.run, self.thread)

        async def send_and_note(message: Any) -> None:
            self.texts.append(message.get("body", b""))
            await send(message)

        joined = self.stream.join(self.run, stream_channel=queue, thread_id=self.thread)
        await receive()
        await self._response(joined)(scope, receive, send_and_note)


def asked_of(server: Server, *, takes_parts: bool = True) -> Any:
    client = OwnServerClient(transport=OwnServerTransport(server.app), base_url=OWN_URL)
    return client.stream("GET", "/", extensions={"steady_parts": takes_parts})


@pytest.fixture
def server(loadable: None, monkeypatch: pytest.MonkeyPatch) -> Server:  # noqa: F811
    return Server(monkeypatch)


@pytest.mark.parametrize("is_resumable", [True, False])
@pytest.mark.parametrize("takes_parts", [True, False])
async def test_a_reader_gets_the_same_parts_either_way(
    server: Server, takes_parts: bool, is_resumable: bool
) -> None:
    """Each once and in order, with ids where the run has some; only the first one is written."""
    server.is_resumable = is_resumable
    parts: list[Part] = []
    async with asyncio.timeout(60), asked_of(server, takes_parts=takes_parts) as response:
        reading = read_parts(response)
        await server.put("metadata", b"{}")
        parts += await anext(reading)
        for number in range(3):
            await server.put("messages|a", b"[%d]" % number)
        while len(parts) < 4:
            parts += await anext(reading)
        await server.put("error", b"{}")
        await server.put("control", b"done")
        parts += [part async for some in reading for part in some]
    names = ["metadata", *["messages|a"] * 3, "error"]
    assert [part.name for part in parts] == names
    assert [part.raw for part in parts] == [b"{}", b"[0]", b"[1]", b"[2]", b"{}"]
    assert {part.id is not None for part in parts} == {is_resumable}
    written = [text for text in server.texts if text]
    assert len(written) == (1 if takes_parts else 5)


async def test_a_reader_that_takes_nothing_leaves_events_to_the_server(server: Server) -> None:
    """What waits here is read at once, and is no more than on a socket; the rest follows it."""
    async with asyncio.timeout(60), asked_of(server) as response:
        await server.put("metadata", b"{}")
        for number in range(1000):
            await server.put("messages", b"%1000d" % number)
            await asyncio.sleep(0)
        lists = list[list[Part]]()
        reading = read_parts(response)
        while sum(map(len, lists)) < 1001:
            lists.append(await anext(reading))
        await server.put("messages", b"last")
        last = await anext(reading)
    sizes = [sum(len(part.raw) for part in parts) for parts in lists]
    assert _MOST_WAITING_BYTES < max(sizes) <= _MOST_WAITING_BYTES + 2000
    numbers = [part.raw for parts in lists for part in parts if part.name == "messages"]
    assert numbers == [b"%1000d" % number for number in range(1000)]
    assert [part.raw for part in last] == [b"last"]
    assert not any(b"last" in text for text in server.texts)


async def test_who_may_not_read_a_run_is_handed_nothing(server: Server) -> None:
    """The server checks it before the first event, and tells it in the stream, as over HTTP."""
    server.error = HTTPException(404, "Thread not found")
    async with asyncio.timeout(60), asked_of(server) as response:
        await server.put("messages", b"secret")
        parts = [part async for some in read_parts(response) for part in some]
    assert [part.name for part in parts] == ["error"]
    assert b"404" in parts[0].raw


@pytest.mark.parametrize("options", [{"stream_mode": "values"}, {"last_event_id": "1-0"}])
async def test_part_of_a_stream_is_the_servers(server: Server, options: dict[str, str]) -> None:
    """It leaves out what the reader did not ask for, and replays what is stored before the rest."""
    ways = asyncio.Queue[str]()
    queue = await server.stream.subscribe(server.run, server.thread)
    straight_events.reader.set(lambda _: not ways.put_nowait("straight"))
    joined = server.stream.join(
        server.run, stream_channel=queue, thread_id=server.thread, **options
    )

    async def read() -> None:
        async for _ in joined:
            ways.put_nowait("joined")

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        for _ in range(2):
            await server.put("values", b"1")
            assert await ways.get() == "joined"
        await server.put("control", b"done")


async def test_the_server_hears_that_a_run_goes_on(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks whether a run has ended where it hears nothing, and never in the midst of events."""
    monkeypatch.setattr(straight_events, "_ALIVE_SECONDS", -1)
    taken, waits = list[Any](), asyncio.Semaphore(0)
    queue = await server.stream.subscribe(server.run, server.thread)
    get = queue.get
    queue.get = lambda: (waits.release(), get())[1]
    straight_events.reader.set(lambda event: not taken.append(event))
    joined = server.stream.join(server.run, stream_channel=queue, thread_id=server.thread)
    async with asyncio.timeout(60):
        await server.put("metadata", b"{}")
        assert (await anext(joined))[0] == b"metadata"
        rest = asyncio.create_task(anext(joined, None))
        for _ in range(2):  # the first wait, and that for the second event
            await waits.acquire()
        for _ in range(3):
            await server.put("messages", b"1")
            await waits.acquire()
        await server.put("control", b"done")
        assert await rest is None
    assert len(taken) == 3
