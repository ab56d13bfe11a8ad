"""What one connection can do to a server before anybody knows whose it is."""

import asyncio
import statistics
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect

from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer
from tests.users import socket_url

TEXT, CONTINUATION, PING, PONG = 0x1, 0x0, 0x9, 0xA
HANDSHAKE = (
    "GET /ws/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: steady.v1\r\n\r\n"
)
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def strict(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that waits a second for a request."""
    env = server_env(model.url, STEADY_REQUEST_SECONDS="1")
    folder = tmp_path_factory.mktemp("strict")
    with LocalServer(find_config(Path(__file__)), env=env, folder=folder) as running:
        yield running


@asynccontextmanager
async def wire(server: LocalServer, sent: str = "") -> AsyncIterator[Wire]:
    """A connection on which anything can be sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(sent.encode())
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def raw_socket(server: LocalServer) -> AsyncIterator[Wire]:
    """A WebSocket of which every byte is ours."""
    async with wire(server, HANDSHAKE) as (reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        yield reader, writer


def frame(opcode: int, payload: bytes = b"", *, is_last: bool = True) -> bytes:
    assert len(payload) < 126
    return bytes([opcode | (0x80 if is_last else 0), 0x80 | len(payload)]) + bytes(4) + payload


async def close_code(reader: asyncio.StreamReader) -> int:
    """The code of the close frame that comes, after whatever else."""
    async with asyncio.timeout(60):
        data = await reader.read()
    at = data.rindex(b"\x88")
    return int(struct.unpack("!H", data[at + 2 : at + 4])[0])


async def usual_answer(server: LocalServer, seconds: float) -> float:
    """The median of how long `/ok` took, of those that were asked for in this time.

    A busy machine makes some of them slow, a server that is held up all.
    """
    took, end = list[float](), time.monotonic() + seconds
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        while time.monotonic() < end:
            begin = time.monotonic()
            assert (await http.get("/ok")).status_code == 200
            took.append(time.monotonic() - begin)
    return statistics.median(took)


async def flood(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Sends it over and over, as fast as it is taken."""
    while True:
        writer.write(data)
        await writer.drain()


def memory_bytes(server: LocalServer) -> int:
    assert server.process
    return int(psutil.Process(server.process.pid).memory_info().rss)


async def test_no_compression_is_offered(strict: LocalServer) -> None:
    """A client that asks for compression gets a connection without it."""
    async with connect(
        socket_url(strict, "/ws/chat"), compression="deflate", proxy=None, open_timeout=60
    ) as socket:
        assert socket.protocol.extensions == []


async def test_a_frame_is_refused_by_its_length(strict: LocalServer) -> None:
    """Its close comes before any of the payload is sent."""
    async with raw_socket(strict) as (reader, writer):
        writer.write(bytes([0x80 | TEXT, 0x80 | 127]) + struct.pack("!Q", 5_000_000) + bytes(4))
        assert await close_code(reader) == 1009


@pytest.mark.parametrize("opcode", [PING, PONG, CONTINUATION])
async def test_frames_that_nobody_sees_are_counted(strict: LocalServer, opcode: int) -> None:
    """Pings, pongs and fragments without end close the connection, and cost no memory."""
    before = memory_bytes(strict)
    async with raw_socket(strict) as (_, writer):
        if opcode == CONTINUATION:
            writer.write(frame(TEXT, b"a", is_last=False))
        sending = asyncio.create_task(flood(writer, frame(opcode, b"ab", is_last=opcode > 2) * 500))
        answered = await usual_answer(strict, 1.0)
        await asyncio.wait({sending}, timeout=60)
        assert sending.done()
        assert answered < 1.0
    assert memory_bytes(strict) - before < 20_000_000


async def test_many_small_messages_hold_up_nobody(strict: LocalServer) -> None:
    """They are read as fast as one connection may send, and others are answered meanwhile."""
    data = frame(TEXT, b'{"type":"ping"}') * 2000
    async with raw_socket(strict) as (reader, writer):
        sending = asyncio.create_task(flood(writer, data))
        reading = asyncio.create_task(reader.read(100_000_000))
        try:
            await asyncio.sleep(5)  # more than the burst
            assert await usual_answer(strict, 3.0) < 1.0
        finally:
            for task in (sending, reading):
                task.cancel()


async def test_an_honest_burst_is_answered(strict: LocalServer) -> None:
    """Some hundred pings at once, of either kind, get their pongs."""
    async with connect(
        socket_url(strict, "/ws/chat"), subprotocols=["steady.v1"], proxy=None
    ) as socket:
        for _ in range(300):
            await socket.send('{"type":"ping"}')
        for _ in range(300):
            assert "pong" in str(await socket.recv())
        for _ in range(20):
            await (await socket.ping())


async def answer_to(reader: asyncio.StreamReader) -> bytes:
    """All that the server sends until it closes; its reset is an end like another."""
    data = b""
    async with asyncio.timeout(60):
        try:
            while part := await reader.read(65_536):
                data += part
        except ConnectionError:
            pass
    return data


HEAD = "POST /threads/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_head_that_is_too_large(strict: LocalServer, is_whole: bool) -> None:
    """It is refused, also where it never ends."""
    end = "\r\nContent-Length: 2\r\n\r\n{}" if is_whole else ""
    async with wire(strict, f"{HEAD}X-Long: {'a' * 100_000}{end}") as (reader, _):
        answer = await answer_to(reader)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"STEADY_LARGEST_HEAD_BYTES" in answer


HELD_OPEN = {
    "nothing": "",
    "half a line": "GET /o",
    "half a head": HEAD,
    "half a body": f"{HEAD}Content-Length: 100\r\n\r\n{{",
    "no chunk": f"{HEAD}Transfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("case", HELD_OPEN)
async def test_a_request_that_never_comes_whole(strict: LocalServer, case: str) -> None:
    """Its connection is closed after the time that a request may take, and says so."""
    async with wire(strict, HELD_OPEN[case]) as (reader, _):
        answer = await answer_to(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"STEADY_REQUEST_SECONDS" in answer


async def test_a_long_answer_has_its_time(strict: LocalServer) -> None:
    """The limit is the request's: a stream that takes longer is sent to its end."""
    question = {"question": "stream 60 tokens at 20 per second"}
    async with httpx.AsyncClient(base_url=strict.url, timeout=60) as http:
        answer = await http.post("/chat/stream", json=question)
    assert answer.text.rstrip().endswith('data: {"done":true}')


async def test_a_socket_may_stay(strict: LocalServer) -> None:
    """A WebSocket is no request that is late."""
    async with connect(socket_url(strict, "/ws/chat"), proxy=None, open_timeout=60) as socket:
        await asyncio.sleep(1.5)
        await socket.send("Hello?")
        assert str(await socket.recv()).startswith("You")
