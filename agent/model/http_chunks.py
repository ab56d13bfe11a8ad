"""HTTP chunks of a model's answer, merged where they come in: h11 works 10 to 25 us on each.

A model sends each token as an HTTP chunk of its own. What has arrived together is made one chunk,
below httpx2 and h11, which keep all the rest: connections, TLS, proxies, time limits, errors.
"""

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import httpcore2
import httpx2

_LONGEST_HEAD_BYTES = 65_536
_READ_BYTES = 256 * 1024  # what an event loop reads of a socket at once
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?")
_LONGEST_SIZE_LINE_BYTES = 256
# Few idle ones: with each request the pool looks at each of them once for each connection it has.
_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=10)
_POOL_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


class Merger:
    """Rewrites one chunked response, as it arrives, with fewer chunks. Pure.

    All of the content that was fed has been given out; only bytes between chunks are kept back.
    Other responses, and whatever does not look as expected, pass as they are.
    """

    def __init__(self) -> None:
        self._head: bytes | None = b""  # None: past it
        self._is_raw = False
        self._rest = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """What to pass on of these bytes: maybe nothing yet."""
        if self._is_raw:
            return data
        if self._head is None:
            content, raw = self.content(data)
            return (b"%x\r\n%b\r\n" % (len(content), content) if content else b"") + raw
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            self._is_raw = len(head) > _LONGEST_HEAD_BYTES
            return data
        if head.startswith(b"HTTP/1.1 1"):  # not the answer yet
            self._head = b""
        else:
            self._head, self._is_raw = None, not _is_chunked(head + end)
        return data[: len(data) - len(body)] + self.feed(body)

    @property
    def is_between_chunks(self) -> bool:
        """Whether `content` can be asked: the head is over, and more chunks are to come."""
        return self._head is None and not self._is_raw

    def content(self, data: bytes) -> tuple[bytes, bytes]:
        """The content in these bytes, and what is no content of chunks: the end, and all behind."""
        buffer, at, found = self._rest + data, 0, list[bytes]()
        end = len(buffer)
        while at < end:
            if self._left > 2:
                piece = buffer[at : at + self._left - 2]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
            elif self._left:  # the line end behind a chunk
                if not b"\r\n".startswith(buffer[at : at + self._left]):
                    self._is_raw = True
                    break
                if end - at < 2:
                    break
                at, self._left = at + 2, 0
            else:
                line_end = buffer.find(b"\r\n", at, at + _LONGEST_SIZE_LINE_BYTES)
                if line_end < 0 and end - at < _LONGEST_SIZE_LINE_BYTES:
                    break
                size = _SIZE.fullmatch(buffer, at, line_end) if line_end > 0 else None
                if size is None or not int(size[1], 16):
                    self._is_raw = True  # the last one; or a broken one
                    break
                at, self._left = line_end + 2, int(size[1], 16) + 2
        self._rest = b"" if self._is_raw else buffer[at:]
        return b"".join(found), buffer[at:] if self._is_raw else b""


def _is_chunked(head: bytes) -> bool:
    has_plain_lines = head.count(b"\n") == head.count(b"\r\n")
    is_known = head.startswith(b"HTTP/1.1 ") and has_plain_lines
    return is_known and len(_CHUNKED.findall(head)) == 1


class MergingTransport(httpx2.AsyncBaseTransport):
    """An HTTP/1.1 transport that merges the chunks of what it receives.

    httpx2's own transport lets nobody below its connections, so this one holds httpcore2's pool
    itself. `limits`, `verify` and the URL `proxy` are httpx2's; certificates are checked as httpx2
    does. Errors are httpx2's, of the same names as httpcore2's.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        limits: httpx2.Limits = _LIMITS,
        verify: bool = True,
    ) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(verify=verify),
            proxy=_pool_proxy(httpx2.Proxy(proxy)) if proxy else None,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(httpcore2.AnyIOBackend()),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        with _httpx2_errors():
            response = await self._pool.handle_async_request(
                httpcore2.Request(
                    request.method,
                    _pool_url(request.url),
                    headers=request.headers.raw,
                    content=cast(httpx2.AsyncByteStream, request.stream),
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response, request.extensions.get("timeout", {}).get("read")),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        with _httpx2_errors():
            await self._pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """Iterating again goes on where the first iteration stopped, which the OpenAI SDK relies on."""

    def __init__(self, response: httpcore2.Response, timeout: float | None) -> None:
        self._response = response
        self._data = aiter(cast(AsyncIterable[bytes], response.stream))
        self._timeout = timeout
        self._connection: Any = None  # once h11 has read what came with the head

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    def arrived(self) -> bytes:
        """What has arrived already; nothing where that is to be waited for, or is not known."""
        return self._connection.arrived() if isinstance(self._connection, _Stream) else b""

    async def __anext__(self) -> bytes:
        with _httpx2_errors():
            if isinstance(self._connection, _Stream) and (
                content := await self._connection.read_content(self._timeout)
            ):
                return content
            data = await anext(self._data)
            self._connection = self._response.extensions.get("network_stream")
            return data

    async def aclose(self) -> None:
        with _httpx2_errors():
            await self._response.aclose()


def _pool_url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _pool_proxy(proxy: httpx2.Proxy) -> httpcore2.Proxy:
    return httpcore2.Proxy(
        _pool_url(proxy.url), proxy.raw_auth, proxy.headers.raw, proxy.ssl_context
    )


@contextmanager
def _httpx2_errors() -> Iterator[None]:
    """Raises httpx2's exception for httpcore2's: they have the same names."""
    try:
        yield
    except _POOL_ERRORS as error:
        raise getattr(httpx2, type(error).__name__)(str(error)) from error


class _Backend(httpcore2.AsyncNetworkBackend):
    def __init__(self, inner: httpcore2.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return _Stream(await self._inner.connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore2.AsyncNetworkStream:
        return _Stream(await self._inner.connect_unix_socket(*args, **options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Stream(httpcore2.AsyncNetworkStream):
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
        return _Stream(await self._inner.start_tls(*args, **options))

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
        return self._inner.get_extra_info(info)


def _second_descriptor(stream: httpcore2.AsyncNetworkStream) -> socket.socket | None:
    """Another socket of the same connection; None where the system has no such thing."""
    first = stream.get_extra_info("socket")
    if first is None or os.name != "posix":
        return None
    second = socket.socket(fileno=os.dup(first.fileno()))
    second.setblocking(False)
    return second


def _mark(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
