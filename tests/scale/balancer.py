"""A plain TCP balancer, which can cut what is open or hold back everything."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self


class Balancer:
    """Takes connections on `port` and hands each to one of the ports that takes it, in turn."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._next = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            self.cut()
            self.release()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Ends every connection that is open, without a word."""
        for writer in list(self._open):
            writer.transport.abort()

    def hold(self) -> None:
        """Lets nothing pass, and no end be seen, until `release`; nothing is lost on the way."""
        self._flows.clear()

    def release(self) -> None:
        self._flows.set()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._flows.wait()
            away = await self._connected()
            if away is None:
                writer.transport.abort()
                return
            there_reader, there_writer = away
            self._open.add(there_writer)
            try:
                both = [self._copy(reader, there_writer), self._copy(there_reader, writer)]
                tasks = [asyncio.create_task(each) for each in both]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
            finally:
                there_writer.transport.abort()
                self._open.discard(there_writer)
        finally:
            writer.close()
            self._open.discard(writer)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._ports:
            self._next += 1
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(
                    "127.0.0.1", self._ports[self._next % len(self._ports)]
                )
        return None

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
            await self._flows.wait()
