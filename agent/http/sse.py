"""Server-sent events: one JSON object an event, comments as heartbeats, no reader that hangs on.

The task that reads an event sends it, and one timer a stream looks whether it is idle or stuck: a
time limit for each event would cost more than the event. An error, or a server that stops, is told
by the stream's last events.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agent.http.runs import IdAndEvent, encoded
from agent.http.shutdown import OpenStream, open_stream, stopping
from agent.settings import Settings
from client import SteadyError

log = structlog.stdlib.get_logger(__name__)

_HEARTBEAT = b": heartbeat\n\n"


def event_bytes(data: bytes, event_id: str | None = None, name: str | None = None) -> bytes:
    """A server-sent event. None of the three has an end of line in it."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    if name is not None:
        head += f"event: {name}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


def written_event(event: IdAndEvent) -> bytes:
    """An event of ours: its id (or None) and a JSON object."""
    event_id, fields = event
    return event_bytes(encoded(fields), event_id)


class EventStream(Response):
    """Sends `events` as they come, each as `written` gives it.

    What they raise is sent as `as_events` gives it: the HTTP status has gone out already.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[Any],
        as_events: Callable[[SteadyError], list[Any]],
        config: Settings,
        written: Callable[[Any], bytes] = written_event,
    ) -> None:
        self.background = None
        self.status_code = 200
        self.init_headers(
            {
                "Cache-Control": "no-cache",
                "Connection": "keep-alive",
                "X-Accel-Buffering": "no",  # nginx
            }
        )
        self._events, self._as_events, self._written = events, as_events, written
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        connection = _Connection(send, self._config)
        with open_stream() as stream:
            async with connection.held(receive), aclosing(self._pieces(stream)) as pieces:
                async for piece in pieces:
                    await connection.send(piece)
                await connection.send(b"", is_last=True)
        if connection.is_stuck:
            seconds = self._config.steady_stalled_reader_seconds
            await log.ainfo(f"A reader that took nothing for {seconds:g} s was let go.")

    async def _pieces(self, stream: OpenStream) -> AsyncGenerator[bytes]:
        try:
            async with aclosing(self._events) as events:
                async for event in events:
                    piece = self._written(event)
                    stream.is_waiting = False
                    yield piece
                    stream.is_waiting = True
                    if stream.is_stopped:
                        raise stopping()
            return
        except asyncio.CancelledError:
            if not stream.was_woken():
                raise
            error: SteadyError = stopping()
        except SteadyError as raised:
            error = raised
        for event in self._as_events(error):
            yield self._written(event)


class _Connection:
    """Sends piece after piece to a reader: keeps an idle one, leaves one that takes nothing."""

    def __init__(self, send: Send, config: Settings) -> None:
        self._send = send
        self._heartbeat_seconds = config.steady_heartbeat_seconds
        self._stuck_seconds = config.steady_stalled_reader_seconds
        self._lock = asyncio.Lock()
        self._since = time.monotonic()
        self._is_sending = False
        self._scope: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._heartbeat: asyncio.Task[None] | None = None
        self.is_stuck = False

    @asynccontextmanager
    async def held(self, receive: Receive) -> AsyncIterator[None]:
        """Cancels what is done in the context, and leaves it without an error, once it is left."""
        leaving = asyncio.create_task(_disconnected(receive))
        leaving.add_done_callback(lambda _: self._leave())
        try:
            async with asyncio.timeout(None) as self._scope:
                self._look()
                yield
        except TimeoutError:
            if self._scope is None or not self._scope.expired():
                raise
        finally:
            self._scope = None
            for each in (leaving, self._timer, self._heartbeat):
                if each is not None:
                    each.cancel()

    def _leave(self) -> None:
        """The reader is gone, or is let go."""
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def send(self, piece: bytes, *, is_last: bool = False) -> None:
        async with self._lock:
            self._is_sending, self._since = True, time.monotonic()
            message = {"type": "http.response.body", "body": piece, "more_body": not is_last}
            await self._send(message)
            self._is_sending = False

    def _look(self) -> None:
        limit = self._stuck_seconds if self._is_sending else self._heartbeat_seconds
        left_seconds = self._since + limit - time.monotonic()
        if left_seconds <= 0 and self._is_sending:
            self.is_stuck = True
            self._leave()
            return
        if left_seconds <= 0:
            self._heartbeat = asyncio.create_task(self.send(_HEARTBEAT))
            left_seconds = self._heartbeat_seconds
        soon = min(left_seconds, self._stuck_seconds)
        self._timer = asyncio.get_running_loop().call_later(soon, self._look)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
