"""The transports between the model's HTTP client and its connections: regular answers, in frames.

`agent.model.answer_reader` says what is done to an answer. The first text goes out at once; after
it, what arrives within one interval goes out together.

Only the asynchronous transport frames: a synchronous reader pulls at its own speed in a thread of
its own, where the timer would cost a second thread a stream. It reads the model as it comes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast
from weakref import WeakSet

import httpx2

from agent.model.answer_reader import AnswerReader
from agent.model.dialects import UnusableAnswer
from agent.model.dialects.failures import unreadable
from agent.model.framer import DEFAULT_FRAME_SECONDS, Framer
from agent.settings import LONGEST_ANSWER_CHARACTERS, LONGEST_CALL_SECONDS

PENDING_BYTES = 1024 * 1024
_CANCEL_AGAIN_SECONDS = 0.5
_TIMER_SLACK_SECONDS = 0.001  # uvloop rounds to milliseconds: a timer must not fire before its time
_AFTER_END_SECONDS = 5.0  # how long usage or `[DONE]` may come after the finish reason
_STREAM_ASKED = re.compile(rb'"stream":\s*true')
_APIS = ("/chat/completions", "/responses")


@dataclass(frozen=True)
class AnswerLimits:
    """What ends an answer that does not come to an end: its length, and the time of its call."""

    characters: int = LONGEST_ANSWER_CHARACTERS
    seconds: float = LONGEST_CALL_SECONDS


@dataclass
class _Answers:
    """Which responses are answers to be read, and how; what was learned of the models."""

    frame_seconds: float
    limits: AnswerLimits
    hidden_openings: set[str] = field(default_factory=set)

    def reader(self, request: httpx2.Request, response: httpx2.Response) -> AnswerReader | None:
        """A reader for the response; None where it is to pass untouched."""
        path = request.url.path
        if not response.is_success or not path.endswith(_APIS):
            return None
        if not _STREAM_ASKED.search(request.content):
            return None
        response.headers.pop("content-length", None)
        response.headers.pop("content-encoding", None)
        response.headers["content-type"] = "text/event-stream"
        return AnswerReader(
            Framer(self.frame_seconds),
            path=path,
            request=request.content,
            hidden_openings=self.hidden_openings,
            longest_characters=self.limits.characters,
        )


class FrameTransport(httpx2.AsyncBaseTransport):
    """Makes the answers regular that `inner` receives, and frames them; all else passes untouched.

    `frame_seconds` is the least time between two frames; 0 turns framing off. When the event loop
    runs behind, frames get rarer by themselves, down to one in `LONGEST_FRAME_SECONDS`. A reader
    slower than the model gets bigger frames, and past `PENDING_BYTES` of waiting data the model
    is not read from until the reader catches up. Runs on asyncio. An answer that cannot be used
    raises UnusableAnswer in the response's body, behind what could be used of it.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        frame_seconds: float = DEFAULT_FRAME_SECONDS,
        limits: AnswerLimits | None = None,
    ) -> None:
        self._inner = inner
        self._answers = _Answers(frame_seconds, limits or AnswerLimits())
        self._open = WeakSet[_FramedStream]()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"  # compressed events come late
        response = await self._inner.handle_async_request(request)
        upstream = cast(httpx2.AsyncByteStream, response.stream)
        encoding = response.headers.get("content-encoding")
        if reader := self._answers.reader(request, response):
            decoded = _decoded(upstream, encoding).aiter_bytes() if encoding else aiter(upstream)
            seconds = self._answers.limits.seconds
            response.stream = _FramedStream(upstream, decoded, reader, seconds)
            self._open.add(response.stream)
        return response

    async def aclose(self) -> None:
        """Closes the streams that are still open, too."""
        await asyncio.gather(*(stream.aclose() for stream in list(self._open)))
        await self._inner.aclose()


class RegularTransport(httpx2.BaseTransport):
    """The synchronous twin: answers are made regular, and come as the model sends them."""

    def __init__(self, inner: httpx2.BaseTransport, limits: AnswerLimits | None = None) -> None:
        self._inner = inner
        self._answers = _Answers(0, limits or AnswerLimits())

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"
        response = self._inner.handle_request(request)
        upstream = cast(httpx2.SyncByteStream, response.stream)
        encoding = response.headers.get("content-encoding")
        if reader := self._answers.reader(request, response):
            decoded = _decoded(upstream, encoding).iter_bytes() if encoding else upstream
            seconds = self._answers.limits.seconds
            response.stream = _RegularStream(upstream, decoded, reader, seconds)
        return response

    def close(self) -> None:
        self._inner.close()


def _decoded(
    upstream: httpx2.AsyncByteStream | httpx2.SyncByteStream, encoding: str
) -> httpx2.Response:
    """Some gateways compress although they were asked not to; httpx2 knows the encodings."""
    return httpx2.Response(200, headers={"content-encoding": encoding}, stream=upstream)


def _check_time(now: float, until: float, seconds: float) -> None:
    if now > until:
        raise UnusableAnswer(
            f"did not come to the end of its answer within {seconds:g} s: "
            "raise STEADY_MODEL_CALL_SECONDS, or ask for less.",
            can_help=False,
        )


class _RegularStream(httpx2.SyncByteStream):
    def __init__(
        self,
        upstream: httpx2.SyncByteStream,
        decoded: Iterable[bytes],
        reader: AnswerReader,
        seconds: float,
    ) -> None:
        self._upstream, self._decoded = upstream, decoded
        self._reader, self._seconds = reader, seconds

    def __iter__(self) -> Iterator[bytes]:
        reader, until = self._reader, time.monotonic() + self._seconds
        try:
            for data in self._decoded:
                _check_time(time.monotonic(), until, self._seconds)
                try:
                    reader.feed(data, 0.0)
                finally:
                    yield reader.framer.take(0.0)
        except httpx2.DecodingError as error:
            raise unreadable() from error
        except httpx2.TransportError:
            if not reader.has_ended:
                raise
        reader.end(0.0)
        yield reader.framer.take(0.0)

    def close(self) -> None:
        self._upstream.close()


class _FramedStream(httpx2.AsyncByteStream):
    """One task reads upstream into the framer while the reader waits for what is due.

    The two are apart because a read of the connection cannot be given up halfway: cancelling it
    closes the connection. It is its own iterator, so that iterating again goes on where the
    first iteration stopped: the OpenAI SDK does so after `[DONE]`, to keep the connection.
    """

    def __init__(
        self,
        upstream: httpx2.AsyncByteStream,
        decoded: AsyncIterator[bytes],
        reader: AnswerReader,
        seconds: float,
    ) -> None:
        self._upstream, self._decoded = upstream, decoded
        self._reader, self._framer = reader, reader.framer
        self._seconds = seconds
        self._until = asyncio.get_running_loop().time() + seconds
        self._pump: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._taken = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        loop = asyncio.get_running_loop()
        if self._pump is None:
            self._pump = loop.create_task(self._read_upstream())
            self._pump.add_done_callback(lambda _: self._wake.set())
        try:
            while not (data := self._framer.take(loop.time())):
                if self._pump.done():
                    break
                await self._wait_until_due(loop)
        except BaseException:
            await self.aclose()
            raise
        if data:
            self._taken.set()
            return data
        await self.aclose()
        if self._pump.cancelled():
            raise httpx2.StreamClosed()
        self._pump.result()
        raise StopAsyncIteration

    async def _wait_until_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wake.clear()
        if self._framer.due is not None:
            when = self._framer.due + _TIMER_SLACK_SECONDS
            self._timer = loop.call_at(when, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    async def _read_upstream(self) -> None:
        loop, framer, reader = asyncio.get_running_loop(), self._framer, self._reader
        try:
            while (data := await self._next()) is not None:
                now = loop.time()
                _check_time(now, self._until, self._seconds)
                reader.feed(data, now)
                due = framer.due
                if due is not None and (due <= now or self._timer is None):
                    self._wake.set()
                while framer.pending_bytes > PENDING_BYTES:
                    self._taken.clear()
                    await self._taken.wait()
            reader.end(loop.time())
        finally:
            framer.release(loop.time())

    async def _next(self) -> bytes | None:
        """The next bytes; None at the end. Once the answer is whole, a broken connection is one."""
        try:
            if not self._reader.has_ended:
                return await anext(self._decoded, None)
            async with asyncio.timeout(_AFTER_END_SECONDS):
                return await anext(self._decoded, None)
        except httpx2.DecodingError as error:
            raise unreadable() from error
        except (httpx2.TransportError, TimeoutError):
            if not self._reader.has_ended:
                raise
            return None

    async def aclose(self) -> None:
        """Closes upstream, once, in a task that no cancellation of the reader can break off."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._pump is not None:
            while not self._pump.done():  # what it awaits may swallow a cancellation
                self._pump.cancel()
                await asyncio.wait([self._pump], timeout=_CANCEL_AGAIN_SECONDS)
            if not self._pump.cancelled():
                self._pump.exception()  # seen, so that asyncio does not report it as lost
        await self._upstream.aclose()
