"""An HTTP transport to a model's endpoint that merges the chunks of what it receives.

A model sends each token as an HTTP chunk of its own. What has arrived together is made one chunk,
below httpx2 and h11, which keep all the rest: connections, TLS, proxies, time limits, errors.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpcore2
import httpx2

from agent.model.connection import Backend, Connection

# Few idle ones: with each request the pool looks at each of them once for each connection it has.
_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=10)
_POOL_ERRORS = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


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
            network_backend=Backend(httpcore2.AnyIOBackend()),
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
        return self._connection.arrived() if isinstance(self._connection, Connection) else b""

    async def __anext__(self) -> bytes:
        with _httpx2_errors():
            if isinstance(self._connection, Connection) and (
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
