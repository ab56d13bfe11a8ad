"""HTTP chunks of a model's answer, merged where they come in: h11 works 10 to 25 us on each.

A model sends each token as an HTTP chunk of its own. What has arrived together is made one chunk,
below httpx and h11, which keep all the rest: connections, TLS, proxies, time limits, errors.
"""

import re
from typing import Any

import httpcore
import httpx

_LONGEST_HEAD_BYTES = 65_536
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")
_LONGEST_SIZE_BYTES = 8


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
            return self._merged(data)
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

    def _merged(self, data: bytes) -> bytes:
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
                line_end = buffer.find(b"\r\n", at, at + _LONGEST_SIZE_BYTES + 2)
                size = buffer[at:line_end]
                if line_end < 0 and end - at < _LONGEST_SIZE_BYTES + 2:
                    break
                if line_end < 0 or not _SIZE.fullmatch(size) or not int(size, 16):
                    self._is_raw = True  # the last one; or one with an extension, or broken
                    break
                at, self._left = line_end + 2, int(size, 16) + 2
        self._rest = b"" if self._is_raw else buffer[at:]
        merged = b"".join(found)
        chunk = b"%x\r\n%b\r\n" % (len(merged), merged) if merged else b""
        return chunk + (buffer[at:] if self._is_raw else b"")


def _is_chunked(head: bytes) -> bool:
    has_plain_lines = head.count(b"\n") == head.count(b"\r\n")
    is_known = head.startswith(b"HTTP/1.1 ") and has_plain_lines
    return is_known and len(_CHUNKED.findall(head)) == 1


def merging_transport(**options: Any) -> httpx.AsyncHTTPTransport:
    """httpx's own transport, with its options, which merges the chunks of what it receives."""
    transport = httpx.AsyncHTTPTransport(**options)
    pool = transport._pool  # httpx has no other way to its network backend
    pool._network_backend = _Backend(pool._network_backend)
    return transport


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.connect_unix_socket(*args, **options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection: what is written begins a request, what is read is a response."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._merger = Merger()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        while data := await self._inner.read(max_bytes, timeout):
            if found := self._merger.feed(data):
                return found
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._merger = Merger()
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._inner.start_tls(*args, **options))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
