"""A reverse proxy that serves a server under a path, as nginx's `location /chat/` does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

PREFIX = b"/chat"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def under_path(upstream_url: str) -> AsyncIterator[str]:
    """The URL of the path. What is asked for outside of it is not found."""
    upstream = urlsplit(upstream_url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, rest = head.split(b" ", 2)
            if target.startswith(PREFIX + b"/"):
                up = await asyncio.open_connection(upstream.hostname, upstream.port)
                rest = rest.replace(b"Connection: keep-alive", b"Connection: close")
                up[1].write(b" ".join([method, target.removeprefix(PREFIX), rest]))
                await asyncio.gather(_pass(reader, up[1]), _pass(up[0], writer))
            else:
                writer.write(_NOT_FOUND)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}{PREFIX.decode()}"
    finally:
        server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
