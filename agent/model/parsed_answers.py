"""Streamed answers of Chat Completions as parsed events, past the OpenAI SDK's own reading.

The SDK makes the request, with its retries and errors. It would then cut the frames into events
once more and make an object of pydantic of each, of which LangChain makes a dict again. LangChain
takes dicts as well.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Protocol, Self

import httpx2
from openai import AsyncStream
from openai.resources.chat import AsyncCompletions

from agent.model.dialects.halves import loads
from agent.model.framer import DONE, Part

PARSED = "steady_frames"  # the extension of a response by which its frames are had
_DATA = b"data: "
_DRAIN_SECONDS = 0.1  # the SDK's own


class Frames(Protocol):
    """The frames of an answer, as `FrameTransport` reads them."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def next_parts(self) -> list[Part]: ...


class ParsedCompletions:
    """The SDK's `chat.completions`; answers that `FrameTransport` reads come as `ParsedAnswer`."""

    def __init__(self, completions: AsyncCompletions) -> None:
        self._completions = completions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._completions, name)

    async def create(self, **payload: Any) -> Any:
        """As the SDK's. Raises openai.APIError."""
        answer = await self._completions.create(**payload)
        frames = answer.response.extensions.get(PARSED) if isinstance(answer, AsyncStream) else None
        return answer if frames is None else ParsedAnswer(answer.response, frames)


class ParsedAnswer:
    """The events of one answer, as dicts; a context manager that closes the response.

    Iterating raises what reading raises: httpx2.TransportError, UnusableAnswer.
    """

    def __init__(self, response: httpx2.Response, frames: Frames) -> None:
        self._response = response
        self._frames = frames

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._response.aclose()

    async def __aiter__(self) -> AsyncIterator[Any]:
        with suppress(StopAsyncIteration):
            while True:
                for part in await self._frames.next_parts():
                    if not isinstance(part, bytes):
                        for event in part.event():
                            yield event
                    elif part == DONE:
                        await self._drain()
                        return
                    else:
                        yield loads(part.removeprefix(_DATA))

    async def _drain(self) -> None:
        """Reads to the end of the response, so that its connection can be used again."""
        with suppress(httpx2.TransportError, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in self._frames:
                    pass
