"""What readers that take nothing cost the server's memory."""

import asyncio
import json
import socket
import time
from contextlib import ExitStack

from tests.bench.contestants import Contestant

READERS = 4
MUCH = "stream 700000 tokens"  # 8 MB: more than the sockets between hold
_STEADY_SECONDS = 4.0
_LONGEST_SECONDS = 90.0


def server_memory(contestant: Contestant) -> float:
    """kB that the server grows by for each of a few readers of `/chat/stream` who take nothing.

    Measured once it has not grown for some seconds, while the model still has more to say.
    """
    return asyncio.run(_grown(contestant))


async def _grown(contestant: Contestant) -> float:
    with ExitStack() as stack:
        before = contestant.memory_bytes()
        for _ in range(READERS):
            stack.enter_context(_deaf(contestant))
        return (await _settled(contestant) - before) / READERS / 1024


def _deaf(contestant: Contestant) -> socket.socket:
    host, _, port = contestant.url.removeprefix("http://").partition(":")
    body = json.dumps({"question": MUCH}).encode()
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((host, int(port)))
    reader.sendall(
        f"POST /chat/stream HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return reader


async def _settled(contestant: Contestant) -> int:
    """The server's memory when it has stopped growing."""
    most, since, end = 0, time.monotonic(), time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < min(end, since + _STEADY_SECONDS):
        await asyncio.sleep(0.2)
        if (now := contestant.memory_bytes()) > 1.01 * most:
            most, since = now, time.monotonic()
    return most
