"""httpx2 transports that answer from the embedded model, and start it when it is first needed."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from agent.embedded.errors import EmbeddedError
from agent.embedded.process import PROCESS, Address

BASE_URL = "http://embedded.invalid/v1"
# Half a minute on two idle cores the first time, a second after that.
WARM_SECONDS = 600.0

# Loopback without TLS: nothing to verify, so no certificates are read from disk.
_PLAIN: dict[str, Any] = {"verify": False, "trust_env": False}


class Transport(httpx2.BaseTransport):
    """Sends requests to the embedded model, whatever host they name.

    When it cannot be started the response is a 503 in OpenAI's shape, with the EmbeddedError's
    message and a header that tells the OpenAI SDK not to try again: an exception here would be
    retried, and then be told as "Connection error."
    """

    def __init__(self, gguf: Path | None = None) -> None:
        self._gguf = gguf
        self._inner = httpx2.HTTPTransport(**_PLAIN)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            address = PROCESS.address(self._gguf)
        except EmbeddedError as error:
            return _unavailable(error)
        return self._inner.handle_request(_redirected(request, address))

    def close(self) -> None:
        self._inner.close()


class AsyncTransport(httpx2.AsyncBaseTransport):
    """Like Transport; starting and hashing happen off the event loop.

    `inner` makes the requests; None, the default: httpx2's own transport.
    """

    def __init__(
        self, gguf: Path | None = None, inner: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self._gguf = gguf
        self._inner = inner or httpx2.AsyncHTTPTransport(**_PLAIN)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            address = await asyncio.to_thread(PROCESS.address, self._gguf)
        except EmbeddedError as error:
            return _unavailable(error)
        return await self._inner.handle_async_request(_redirected(request, address))

    async def aclose(self) -> None:
        await self._inner.aclose()


def _redirected(request: httpx2.Request, address: Address) -> httpx2.Request:
    url = request.url.copy_with(scheme="http", host="127.0.0.1", port=address.port)
    headers = request.headers.copy()
    headers["Authorization"] = f"Bearer {address.key}"
    headers["Host"] = f"127.0.0.1:{address.port}"
    return httpx2.Request(
        request.method, url, headers=headers, stream=request.stream, extensions=request.extensions
    )


def _unavailable(error: EmbeddedError) -> httpx2.Response:
    body = {
        "message": str(error),
        "type": "server_error",
        "code": "embedded_unavailable",
        "param": None,
    }
    return httpx2.Response(503, headers={"x-should-retry": "false"}, json={"error": body})


async def warm(
    messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]], gguf: Path | None = None
) -> None:
    """Start the model, and have it read what stays the same between messages; cheap when done.

    `messages` and `tools` are in OpenAI's shape; only system messages count. Raises EmbeddedError.
    """
    await asyncio.to_thread(PROCESS.address, gguf)
    talk = list(messages) or [{"role": "system", "content": ""}]
    async with httpx2.AsyncClient(transport=AsyncTransport(gguf), timeout=WARM_SECONDS) as client:
        reply = await client.post(
            BASE_URL + "/warm", content=json.dumps({"messages": talk, "tools": list(tools)})
        )
    if reply.is_error:
        raise EmbeddedError(f"The embedded model did not warm: {reply.text}")
