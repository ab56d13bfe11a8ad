"""The transports between the model's HTTP client and its connections: regular answers, in frames.

`agent.model.answer_reader` says what is done to an answer. The first text goes out at once; after
it, the connection is read when the next frame is due, and what has arrived goes out together: until
then it waits in the kernel, where it costs nothing.

Only the asynchronous transport frames: a synchronous reader pulls at its own speed, in a thread of
its own.
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
from agent.model.frame_clock import FrameClock
from agent.model.framer import Framer, Part, written
from agent.model.parsed_answers import PARSED
from agent.settings import LONGEST_ANSWER_CHARACTERS, LONGEST_CALL_SECONDS

_MUCH_BYTES = 32 * 1024  # behind a piece this large there is more: the model is faster than frames
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

    merges: bool
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
            Framer(self.merges),
            path=path,
            request=request.content,
            hidden_openings=self.hidden_openings,
            longest_characters=self.limits.characters,
        )


class FrameTransport(httpx2.AsyncBaseTransport):
    """Makes the answers regular that `inner` receives, and frames them; all else passes untouched.

    Each piece of an answer that `inner` gives must be all that has arrived, as `MergingTransport`
    does it. A reader slower than the model gets bigger frames, and the model is not read from
    until the reader takes the next. Runs on asyncio. An answer that cannot be used raises
    UnusableAnswer in the response's body, behind what could be used of it.

    Args:
        inner: makes the requests.
        frame_seconds: the least time between two frames; 0 turns framing off. None, the default:
            it follows the load, see `agent.model.frame_clock`. When the event loop runs behind,
            frames get rarer than that.
        limits: what ends an answer that does not come to an end.
    """

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        frame_seconds: float | None = None,
        limits: AnswerLimits | None = None,
    ) -> None:
        self._inner = inner
        self._frame_seconds = frame_seconds
        self._answers = _Answers(frame_seconds != 0, limits or AnswerLimits())
        self._open = WeakSet[_FramedStream]()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["accept-encoding"] = "identity"  # compressed events come late
        response = await self._inner.handle_async_request(request)
        upstream = cast(httpx2.AsyncByteStream, response.stream)
        encoding = response.headers.get("content-encoding")
        if reader := self._answers.reader(request, response):
            decoded = _decoded(upstream, encoding).aiter_bytes() if encoding else aiter(upstream)
            seconds = self._answers.limits.seconds
            clock = FrameClock(self._frame_seconds)
            response.stream = _FramedStream(upstream, decoded, reader, seconds, clock, self._open)
            response.extensions[PARSED] = response.stream
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
        self._answers = _Answers(False, limits or AnswerLimits())

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
                    reader.feed(data)
                finally:
                    yield reader.framer.take()
        except httpx2.DecodingError as error:
            raise unreadable() from error
        except httpx2.TransportError:
            if not reader.has_ended:
                raise
        reader.end()
        yield reader.framer.take()

    def close(self) -> None:
        self._upstream.close()


class _FramedStream(httpx2.AsyncByteStream):
    """Frames of one answer; `answers` are all that are open.

    It is its own iterator, so that iterating again goes on where the first iteration stopped: the
    OpenAI SDK does so after `[DONE]`, to keep the connection.
    """

    def __init__(
        self,
        upstream: httpx2.AsyncByteStream,
        decoded: AsyncIterator[bytes],
        reader: AnswerReader,
        seconds: float,
        clock: FrameClock,
        answers: WeakSet[_FramedStream],
    ) -> None:
        self._upstream, self._decoded = upstream, decoded
        self._reader, self._framer, self._clock = reader, reader.framer, clock
        self._seconds = seconds
        self._until = asyncio.get_running_loop().time() + seconds
        self._answers = answers
        self._has_more = False
        self._failure: Exception | None = None
        self._closing: asyncio.Task[None] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return written(await self.next_parts())

    async def next_parts(self) -> list[Part]:
        """The next frame as events that need not be written."""
        loop = asyncio.get_running_loop()
        try:
            while self._failure is None:
                await self._wait_until_due(loop)
                await self._read(loop)
                if self._framer.has_text:
                    self._clock.note_frame(loop.time(), len(self._answers))
                if frame := self._framer.take_parts():
                    return frame
        except BaseException:
            await self.aclose()
            raise
        await self.aclose()
        raise self._failure

    async def _wait_until_due(self, loop: asyncio.AbstractEventLoop) -> None:
        wait_seconds = self._clock.due - loop.time()
        if wait_seconds > 0 and not self._has_more and not self._reader.has_ended:
            await asyncio.sleep(wait_seconds + _TIMER_SLACK_SECONDS)
            self._clock.note_wake(loop.time())
        else:
            await asyncio.sleep(0)  # a model faster than its readers leaves time to all others

    async def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reads what has arrived. What ends the answer is kept, to be raised behind its text."""
        try:
            data = await self._next()
            if data is None:
                self._reader.end()
                self._failure = StopAsyncIteration()
                return
            _check_time(loop.time(), self._until, self._seconds)
            self._has_more = len(data) > _MUCH_BYTES
            self._reader.feed(data)
        except Exception as error:
            self._failure = error

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
            self._answers.discard(self)
            self._failure = self._failure or httpx2.StreamClosed()
            self._closing = asyncio.create_task(self._upstream.aclose())
        await asyncio.shield(self._closing)
