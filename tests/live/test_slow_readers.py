"""Readers that are slow, or take nothing at all, on the chat routes."""

import asyncio
import json
import random
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.sse_reader import opened, text_of

MUCH = "Say much."
# 16 MB that cannot be compressed: more than the sockets between us hold
TOKENS = tuple(b64encode(random.Random(n).randbytes(750)).decode() for n in range(16_000))
SMALL_BUFFER_BYTES = 4096


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    model.on(MUCH, Reply(TOKENS))


def deaf_socket(server: LocalServer) -> socket.socket:
    """The system keeps little for a reader that takes nothing."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
    made.connect(("127.0.0.1", server.port))
    made.setblocking(False)
    return made


@pytest.fixture(scope="module")
def impatient(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """A server that lets a reader go who takes nothing for two seconds."""
    longest = str(2 * sum(map(len, TOKENS)))
    env = server_env(
        model.url, STEADY_STALLED_READER_SECONDS="2", STEADY_LONGEST_ANSWER_CHARACTERS=longest
    )
    config = find_config(Path(__file__).parent)
    with LocalServer(config, env=env, folder=tmp_path_factory.mktemp("impatient")) as running:
        yield running


@asynccontextmanager
async def deaf_reader(
    server: LocalServer, path: str, body: dict[str, str]
) -> AsyncIterator[asyncio.StreamReader]:
    """Sends a request and takes nothing of the answer until it is asked to."""
    data = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(
        sock=deaf_socket(server), limit=SMALL_BUFFER_BYTES
    )
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n".encode()
        + data
    )
    try:
        yield reader
    finally:
        writer.close()


async def let_go(server: LocalServer, times: int) -> None:
    """Waits until the server's log has told so of that many readers."""
    async with asyncio.timeout(60):
        while server.log.read_text().count("was let go") < times:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def take_all(connection: ClientConnection, received: list[str | bytes]) -> None:
    while True:
        received.append(await connection.recv())


@pytest.mark.parametrize(
    ("path", "field"), [("/chat/stream", "question"), ("/agent/stream", "message")]
)
async def test_a_reader_that_takes_nothing_is_let_go(
    impatient: LocalServer, model: ModelServer, path: str, field: str
) -> None:
    """Its response ends without the stream's last event: no reader takes it for a whole one."""
    before = impatient.log.read_text().count("was let go")
    async with deaf_reader(impatient, path, {field: MUCH}) as reader:
        await let_go(impatient, before + 1)
        received = await reader.read(-1)
    assert received.startswith(b"HTTP/1.1 200")
    assert orjson.dumps(TOKENS[0])[1:-1] in received
    assert b'"done"' not in received


async def test_a_socket_that_takes_nothing_is_closed(impatient: LocalServer) -> None:
    """The connection ends with a close that says why, or without one where it cannot be said."""
    before = impatient.log.read_text().count("was let go")
    address = f"ws://127.0.0.1:{impatient.port}/ws/chat"
    deaf = deaf_socket(impatient)
    async with connect(
        address, sock=deaf, max_queue=1, max_size=None, open_timeout=60
    ) as connection:
        await connection.send(MUCH)
        await let_go(impatient, before + 1)
        received = list[str | bytes]()
        with pytest.raises(ConnectionClosedError):
            await take_all(connection, received)
    assert received
    assert "[DONE]" not in received


async def test_a_slow_reader_gets_everything_in_larger_pieces(impatient: LocalServer) -> None:
    """Tokens that waited for their reader come together; none is lost."""
    async with opened(impatient.url, "/agent/stream", {"message": "stream 20000 tokens"}) as slow:
        sizes = list[int]()
        async for event in slow:
            if event["type"] == "token":
                sizes.append(len(event["content"].split()))
                await asyncio.sleep(0.02)
    assert text_of(slow.events).split() == [f"word{n}" for n in range(20000)]
    assert slow.events[-1]["status"] == "success"
    assert max(sizes) > 100
