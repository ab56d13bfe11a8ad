"""Connections to a model's endpoint: what has arrived is read at once, its chunks merged."""

import asyncio
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpcore2

from agent.model.http_chunks import Merger

_READ_BYTES = 256 * 1024  # what an event loop reads of a socket at once


class Backend(httpcore2.AsyncNetworkBackend):
    def __init__(self, inner: httpcore2.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return Connection(await self._inner.connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return Connection(await self._inner.connect_unix_socket(*args, **options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class Connection(httpcore2.AsyncNetworkStream):
    """A connection: what is written begins a request, what is read is a response.

    A read gives all that has arrived: of TLS more than the one record that a read decrypts. The
    content of chunks may be read past h11, which then gets their end alone. Without TLS, the
    kernel is asked first, through a second descriptor of the same connection: a read that need not
    wait costs a tenth then. `inner` is not read from.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._merger = Merger()
        self._rest = b""
        self._tls: ssl.SSLObject | None = inner.get_extra_info("ssl_object")
        self._socket = None if self._tls else _second_descriptor(inner)
        self._readable: asyncio.Future[None] | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore2's
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        while data := await self._read(timeout):
            if found := self._merger.feed(data):
                return found
        return b""

    async def read_content(self, timeout: float | None) -> bytes:  # noqa: ASYNC109
        """The content of chunks that has arrived; nothing where h11 is to read what comes."""
        while self._merger.is_between_chunks and (data := await self._read(timeout)):
            content, self._rest = self._merger.content(data)
            if content:
                return content
        return b""

    def arrived(self) -> bytes:
        """The content of chunks that has arrived already; nothing where it cannot be told."""
        if self._socket is None or not self._merger.is_between_chunks:
            return b""
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError:  # there is nothing yet; or it is broken, which the next read tells
            return b""
        content, rest = self._merger.content(data)
        self._rest += rest
        return content

    async def _read(self, timeout: float | None) -> bytes:  # noqa: ASYNC109
        if self._socket is not None:
            return await self._received(self._socket, timeout)
        data = await self._inner.read(_READ_BYTES, timeout)
        return data + b"".join(self._decrypted()) if self._tls else data

    async def _received(self, connection: socket.socket, timeout: float | None) -> bytes:  # noqa: ASYNC109
        """What has arrived, when something has; nothing at the end."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        return connection.recv(_READ_BYTES)
                    except BlockingIOError:
                        await self._wait_until_readable(connection)
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from error

    async def _wait_until_readable(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._readable = readable = loop.create_future()
        loop.add_reader(connection, _mark, readable)
        try:
            await readable
        finally:
            if connection.fileno() >= 0:
                loop.remove_reader(connection)

    def _decrypted(self) -> Iterator[bytes]:
        """The TLS records behind the first that have arrived, too."""
        with suppress(ssl.SSLError):  # none is whole yet; or broken, which the next read tells
            while self._tls and (data := self._tls.read(_READ_BYTES)):
                yield data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._merger = Merger()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        self._close_socket()
        await self._inner.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        self._close_socket()
        return Connection(await self._inner.start_tls(*args, **options))

    def _close_socket(self) -> None:
        if self._socket is None:
            return
        if self._readable is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            if not self._readable.done():
                self._readable.set_exception(ConnectionError("The connection was closed."))
        self._socket.close()
        self._socket = None

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._socket is not None:  # asked of all idle ones, often
            return _is_readable(self._socket)
        return self._inner.get_extra_info(info)


def _second_descriptor(stream: httpcore2.AsyncNetworkStream) -> socket.socket | None:
    """Another socket of the same connection; None where the system has no such thing."""
    first = stream.get_extra_info("socket")
    if first is None or os.name != "posix":
        return None
    second = socket.socket(fileno=os.dup(first.fileno()))
    second.setblocking(False)
    return second


def _is_readable(connection: socket.socket) -> bool:
    """Whether something has arrived, or the connection has ended."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _mark(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
