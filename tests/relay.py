"""Relays on loopback between clients and one server."""

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PIECE_BYTES = 64 * 1024


class Relay:
    """Listens at `url` while the context is open, and passes on what `changed` makes of it."""

    def __init__(self, server_url: str) -> None:
        where = urlsplit(server_url)
        self._server_at = (where.hostname, where.port)
        self._relays = list[asyncio.Task[None]]()
        self.url = ""

    def changed(self, data: bytes, *, is_answer: bool) -> bytes:
        """What is passed on in place of a piece of a request, or of an answer."""
        return data

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        for relay in self._relays:
            relay.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self._relays.append(asyncio.create_task(self._relay(client, to_client)))

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection(*self._server_at)
        await asyncio.gather(
            self._pass(client, to_server, is_answer=False),
            self._pass(server, to_client, is_answer=True),
        )

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        try:
            while data := await source.read(_PIECE_BYTES):
                sink.write(self.changed(data, is_answer=is_answer))
                await sink.drain()
        except OSError:
            pass  # one of the two has gone: so does the other
        finally:
            sink.close()


class ByteCounter(Relay):
    """`received` is what the server sent, in bytes."""

    def __init__(self, server_url: str) -> None:
        super().__init__(server_url)
        self.received = 0

    def changed(self, data: bytes, *, is_answer: bool) -> bytes:
        self.received += len(data) if is_answer else 0
        return data
