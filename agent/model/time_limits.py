"""How long a model may take: to the first token of an answer, and between two pieces of it.

The limits hold where bytes arrive, so that the comments by which an endpoint says that it is still
at work count as pieces.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import httpx2

FIRST_TOKEN_HEADER = "x-steady-first-token"  # noqa: S105 - marks our own answer for the endpoint
_HAS_TOKEN = re.compile(
    rb'"(?:content|reasoning|reasoning_content|thinking|delta|arguments|refusal)"\s*:\s*"[^"]'
)


class FirstTokenTimeout(httpx2.ReadTimeout):
    """The response began, and no token came within the limit."""


class TimeLimitTransport(httpx2.AsyncBaseTransport):
    """Ends a response of `inner` that takes too long.

    Until the first token, `first_token_seconds` count from the request on, whatever comments come
    meanwhile. After it, `idle_seconds` count from each piece, comments among them. Where no
    response comes at all, it answers 504 itself, not to be tried again: another wait of minutes
    would help nobody. Raises httpx2.ReadTimeout, FirstTokenTimeout among it, in a response's body.
    """

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, first_token_seconds: float, idle_seconds: float
    ) -> None:
        self._inner = inner
        self._first_token_seconds = first_token_seconds
        self._idle_seconds = idle_seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        until = asyncio.get_running_loop().time() + self._first_token_seconds
        limit = asyncio.timeout_at(until)
        try:
            async with limit:
                response = await self._inner.handle_async_request(request)
        except TimeoutError:
            if not limit.expired():
                raise
            headers = {"x-should-retry": "false", FIRST_TOKEN_HEADER: "none"}
            return httpx2.Response(504, headers=headers, json={"error": {"message": "No answer."}})
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _LimitedStream(response.stream, until, self._idle_seconds)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _LimitedStream(httpx2.AsyncByteStream):
    """Iterating again goes on where the first iteration stopped, which the OpenAI SDK relies on."""

    def __init__(
        self, stream: httpx2.AsyncByteStream, first_token_until: float, idle_seconds: float
    ) -> None:
        self._stream = stream
        self._data = aiter(stream)
        self._arrived: Callable[[], bytes] = getattr(stream, "arrived", bytes)
        self._until = first_token_until
        self._idle_seconds = idle_seconds
        self._has_begun = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data = self._arrived() or await self._next()
        idle_until = asyncio.get_running_loop().time() + self._idle_seconds
        if self._has_begun:
            self._until = idle_until
        elif _HAS_TOKEN.search(data):
            self._has_begun, self._until = True, idle_until
        elif b"data:" in data:  # perhaps a token in a form that is not known here
            self._until = max(self._until, idle_until)
        return data

    async def _next(self) -> bytes:
        limit = asyncio.timeout_at(self._until)
        try:
            async with limit:
                return await anext(self._data)
        except TimeoutError as error:
            if not limit.expired():
                raise
            kind = httpx2.ReadTimeout if self._has_begun else FirstTokenTimeout
            raise kind("The model took too long.") from error

    async def aclose(self) -> None:
        await self._stream.aclose()
