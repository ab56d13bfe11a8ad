"""HTTP to the model's endpoint: aiohttp under httpx, which the OpenAI SDK speaks.

httpx's own transport spends 25 us on each chunk that a model sends, more than all else that is done
with a token; aiohttp, whose parser is compiled and gives what has arrived in one piece, 5 us.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL

_MOST_CONNECTIONS = 1000
_KEPT_SECONDS = 5.0  # as httpx keeps an idle connection
_LONGEST_HEADER_BYTES = 65_536
_KINDS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientError, httpx.ReadError),
)


class ModelTransport(httpx.AsyncBaseTransport):
    """Sends requests with aiohttp, and raises what httpx's transport would raise.

    Each event loop has a session of its own, closed as the loop shuts down. `proxy` is a URL, with
    a user and password if it needs them. The TLS context is made here: it reads files.
    """

    def __init__(self, url: str, proxy: str | None = None) -> None:
        self._proxy = proxy
        self._tls = httpx.create_ssl_context() if url.startswith("https:") else True
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        self._held: dict[asyncio.AbstractEventLoop, AsyncGenerator[aiohttp.ClientSession]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = await self._session()
        limits = request.extensions.get("timeout", {})
        timeout = aiohttp.ClientTimeout(
            connect=limits.get("pool"),
            sock_connect=limits.get("connect"),
            sock_read=limits.get("read"),
        )
        body = await request.aread()
        with _as_of_httpx():
            response = await session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=body or None,
                allow_redirects=False,
                timeout=timeout,
                proxy=self._proxy,
            )
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Body(response),
            extensions={
                "http_version": b"HTTP/1.1",
                "reason_phrase": (response.reason or "").encode("latin-1", "replace"),
            },
        )

    async def aclose(self) -> None:
        for held in list(self._held.values()):
            await held.aclose()

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            self._held[loop] = self._hold(loop)
            await anext(self._held[loop])
        return self._sessions[loop]

    async def _hold(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[aiohttp.ClientSession]:
        """A loop that shuts down closes the generators that began in it."""
        connector = aiohttp.TCPConnector(
            limit=_MOST_CONNECTIONS, keepalive_timeout=_KEPT_SECONDS, ssl=self._tls
        )
        self._sessions[loop] = session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=_LONGEST_HEADER_BYTES,
            max_field_size=_LONGEST_HEADER_BYTES,
        )
        try:
            yield session
        finally:
            del self._sessions[loop], self._held[loop]
            await session.close()


class _Body(httpx.AsyncByteStream):
    """What has arrived, piece by piece; a connection that was not read to its end is closed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_of_httpx():
            async for data in self._response.content.iter_any():
                yield data

    async def aclose(self) -> None:
        self._response.close()


@contextmanager
def _as_of_httpx() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        kind = next(ours for theirs, ours in _KINDS if isinstance(error, theirs))
        raise kind(str(error) or type(error).__name__) from error
