"""Token frames: many small model events become one, before anything else pays for each of them.

`FrameTransport` goes under the model's HTTP client; `agent.model.framer` says what it merges. The
first text goes out at once; after it, what arrives within one interval goes out together.

Only the asynchronous transport frames: a synchronous reader pulls at its own speed in a thread of
its own, where the timer would cost a second thread a stream. It reads the model as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast
from weakref import WeakSet

import httpx2

from agent.model.framer import DEFAULT_FRAME_SECONDS, Framer

PENDING_BYTES = 1024 * 1024
_CANCEL_AGAIN_SECONDS = 0.5
_TIMER_SLACK_SECONDS = 0.001  # uvloop rounds to milliseconds: a timer must not fire before its time


class FrameTransport(httpx2.AsyncBaseTransport):
    """Frames the event streams that `inner` receives; all other responses pass untouched.

    `frame_seconds` is the least time between two frames; 0 turns framing off. When the event loop
    runs behind, frames get rarer by themselves, down to one in `LONGEST_FRAME_SECONDS`. A reader
    slower than the model gets bigger frames, and past `PENDING_BYTES` of waiting data the model
    is not read from until the reader catches up. Runs on asyncio.
    """

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, frame_seconds: float = DEFAULT_FRAME_SECONDS
    ) -> None:
        self._inner = inner
        self._frame_seconds = frame_seconds
        self._open = WeakSet[_FramedStream]()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self._frame_seconds:
            return await self._inner.handle_async_request(request)
        request.headers["accept-encoding"] = "identity"  # compressed events cannot be merged
        response = await self._inner.handle_async_request(request)
        upstream = cast(httpx2.AsyncByteStream, response.stream)
        if isinstance(upstream, httpx2.AsyncByteStream) and _is_plain_event_stream(
            response.headers
        ):
            response.stream = _FramedStream(upstream, Framer(self._frame_seconds))
            self._open.add(response.stream)
            response.headers.pop("content-length", None)
        return response

    async def aclose(self) -> None:
        """Closes the streams that are still open, too."""
        await asyncio.gather(*(stream.aclose() for stream in list(self._open)))
        await self._inner.aclose()


def _is_plain_event_stream(headers: httpx2.Headers) -> bool:
    kind: str = headers.get("content-type", "")
    encoding: str = headers.get("content-encoding", "identity")
    return kind.lower().startswith("text/event-stream") and encoding.lower() == "identity"


class _FramedStream(httpx2.AsyncByteStream):
    """One task reads upstream into the framer while the reader waits for what is due.

    The two are apart because a read of the connection cannot be given up halfway: cancelling it
    closes the connection. It is its own iterator, so that iterating again goes on where the
    first iteration stopped: the OpenAI SDK does so after `[DONE]`, to keep the connection.
    """

    def __init__(self, upstream: httpx2.AsyncByteStream, framer: Framer) -> None:
        self._upstream = upstream
        self._framer = framer
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
        loop, framer = asyncio.get_running_loop(), self._framer
        try:
            async for data in self._upstream:
                now = loop.time()
                framer.feed(data, now)
                due = framer.due
                if due is not None and (due <= now or self._timer is None):
                    self._wake.set()
                while framer.pending_bytes > PENDING_BYTES:
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            framer.end(loop.time())

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
