"""The HTTP client for MCP servers: each request is answered, if need be by an error.

The protocol's library waits for the answer of a request whose connection has ended without one,
until the call's time limit. Here such an answer ends in a JSON-RPC error. Where the server sends
ids of its events the library reads on after the last one, and gives up in silence after two tries:
the second one is answered by the error, too.
"""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx

_EVENTS = "text/event-stream"
_RESUMES = 2  # tries of the library
_ID_LINE = re.compile(rb"[\r\n]id:")
_CONNECTION_CLOSED = -32000  # as the protocol's libraries have it


class AnsweredRequests(httpx.AsyncClient):
    """An `httpx.AsyncClient` for one session of the protocol over Streamable HTTP."""

    _failed_resumes = 0

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As httpx has it. Raises httpx.HTTPError."""
        is_resume = "last-event-id" in request.headers
        try:
            response = await super().send(request, **options)
            if is_resume and response.is_error:
                await response.aclose()
                response.raise_for_status()
            if not response.headers.get("content-type", "").startswith(_EVENTS):
                await response.aread()  # raises where it breaks off
        except httpx.HTTPError:
            self._failed_resumes += is_resume
            if self._failed_resumes < _RESUMES:
                raise
            return httpx.Response(
                200, headers={"content-type": _EVENTS}, content=_error(0), request=request
            )
        if is_resume:
            self._failed_resumes = 0
        elif request.method == "POST" and isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Answered(response.stream, request)
        return response


class _Answered(httpx.AsyncByteStream):
    """The events of a POST's answer. Whoever has read the answer in them reads no further."""

    def __init__(self, stream: httpx.AsyncByteStream, request: httpx.Request) -> None:
        self._stream, self._request = stream, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        has_ids, tail = False, b"\n"
        try:
            async for data in self._stream:
                has_ids = has_ids or bool(_ID_LINE.search(tail + data))
                tail = data[-4:]
                yield data
        except httpx.TransportError:
            pass
        if not has_ids:
            yield b"\n\n" + _error(json.loads(self._request.content).get("id"))

    async def aclose(self) -> None:
        await self._stream.aclose()


def _error(request_id: Any) -> bytes:
    error = {"code": _CONNECTION_CLOSED, "message": "The connection ended without an answer."}
    answer = {"jsonrpc": "2.0", "id": request_id, "error": error}
    return f"event: message\ndata: {json.dumps(answer)}\n\n".encode()
