"""Requests of this server to itself, without a socket: each is served by the whole ASGI app.

They are authenticated and checked like any other. A response's pieces that its reader has not taken
yet are joined, and past a limit the app waits: as on a socket, which costs several times as much.
Events of a run come among the pieces as they are, where the reader takes them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from contextvars import Context
from itertools import groupby
from typing import Any

import httpx
from starlette.types import ASGIApp, Message, Scope

from agent.access.gate import own_header
from agent.dev_server import straight_events
from agent.dev_server.straight_events import Event
from agent.telemetry.trace_context import trace_headers

OWN_URL = "http://127.0.0.1"  # whichever it is: nothing is connected to
_PARTS = "steady_parts"  # an extension, of the client's request and of its response
_MOST_WAITING_BYTES = 64 * 1024
_running = set[asyncio.Task[None]]()


class OwnServerTransport(httpx.AsyncBaseTransport):
    """Serves requests by `app`, as requests from this machine.

    Each is marked as this process's own, whose stream is counted already, and is in the trace of
    the one that it is for. Raises httpx.ReadTimeout where nothing comes in time, and
    httpx.RemoteProtocolError where a response does not come to its end, as a connection would.

    Args:
        app: the server's outermost app.
        state: its lifespan's state, for each request's scope.
    """

    def __init__(self, app: ASGIApp, state: dict[str, Any] | None = None) -> None:
        self._app = app
        self._state = state or {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers.update({**own_header(), **trace_headers()})
        seconds = request.extensions.get("timeout", {}).get("read")
        exchange = _Exchange(await request.aread(), seconds, bool(request.extensions.get(_PARTS)))
        # not the asker's context: a request over a socket would not have it either
        task = asyncio.create_task(
            exchange.serve(self._app, self._scope(request)), context=Context()
        )
        _running.add(task)
        task.add_done_callback(_running.discard)
        try:
            return await exchange.response()
        except BaseException:
            await exchange.aclose()
            raise

    def _scope(self, request: httpx.Request) -> Scope:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.partition(b"?")[0],
            "query_string": request.url.query,
            "server": (request.url.host, request.url.port),
            "client": ("127.0.0.1", 0),
            "root_path": "",
            "state": self._state.copy(),
        }


class OwnServerClient(httpx.AsyncClient):
    """Without what a request to oneself does not need: cookies, redirects and a line in the log."""

    def __init__(self, *, transport: httpx.AsyncBaseTransport, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self._own = transport

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **_: Any
    ) -> httpx.Response:
        response = await self._own.handle_async_request(request)
        response.request = request
        if not stream:
            await response.aread()
        return response


class _Exchange(httpx.AsyncByteStream):
    """One request and its response, between the app's task and the reader's."""

    def __init__(self, body: bytes, seconds: float | None, takes_parts: bool) -> None:
        self._body: bytes | None = body
        self._seconds, self._takes_parts = seconds, takes_parts
        self._start: Message | None = None
        self._pieces: list[bytes | Event] = []
        self._size_bytes = 0
        self._is_whole = self._is_over = self._is_late = False
        self._waits_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._changed, self._taken, self._closed = (asyncio.Event() for _ in range(3))

    async def serve(self, app: ASGIApp, scope: Scope) -> None:
        """Runs the app to its end; that it failed shows in what it has sent, and in its log."""
        if self._takes_parts:
            straight_events.reader.set(self._take)
        try:
            with suppress(Exception):
                await app(scope, self._receive, self._send)
        finally:
            self._is_over = True
            self._changed.set()

    async def response(self) -> httpx.Response:
        """The response, once its head is there."""
        while self._start is None:
            await self._wait_for_change()
        head = self._start
        extensions = {_PARTS: self._parts()} if self._takes_parts else {}
        return httpx.Response(
            head["status"], headers=head.get("headers", []), stream=self, extensions=extensions
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for pieces in self._arrivals():
            yield b"".join(pieces)

    async def _parts(self) -> AsyncIterator[bytes | list[Any]]:
        async for pieces in self._arrivals():
            for kind, some in groupby(pieces, key=type):
                yield (b"".join if kind is bytes else _as_parts)(some)

    async def _arrivals(self) -> AsyncIterator[list[Any]]:
        """What has come since the last time, as soon as there is any."""
        while True:
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                self._size_bytes = 0
                self._taken.set()
                yield pieces
            elif self._is_whole or self._closed.is_set():
                return
            else:
                await self._wait_for_change()

    async def aclose(self) -> None:
        self._closed.set()
        self._taken.set()
        if self._timer is not None:
            self._timer.cancel()

    async def _wait_for_change(self) -> None:
        if self._is_over and not self._changed.is_set():
            raise httpx.RemoteProtocolError("The response ended early.")
        self._waits_since = time.monotonic()
        if self._timer is None and self._seconds is not None:
            self._look_in(self._seconds)
        await self._changed.wait()
        self._waits_since = None
        self._changed.clear()
        if self._is_late:
            raise httpx.ReadTimeout("The server took too long.")

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Ends a wait that takes too long: a timer for each of them would cost more than it."""
        self._timer = None
        if self._waits_since is None or self._seconds is None or self._changed.is_set():
            return  # the next wait begins another one
        left_seconds = self._waits_since + self._seconds - time.monotonic()
        if left_seconds > 0:
            self._look_in(left_seconds)
        else:
            self._is_late = True
            self._changed.set()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._closed.wait()
        return {"type": "http.disconnect"}

    def _take(self, event: Event) -> bool:
        if self._size_bytes > _MOST_WAITING_BYTES:
            return False
        self._pieces.append(event)
        self._size_bytes += len(event[1])
        self._changed.set()
        return True

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif not self._closed.is_set():
            if piece := message.get("body", b""):
                self._pieces.append(piece)
                self._size_bytes += len(piece)
            self._is_whole = not message.get("more_body", False)
        self._changed.set()
        while self._size_bytes > _MOST_WAITING_BYTES and not self._closed.is_set():
            self._taken.clear()
            await self._taken.wait()


def _as_parts(events: Iterable[Event]) -> list[tuple[str, bytes, str | None]]:
    return [
        (str(name, "utf-8"), bytes(data), id_.decode() if id_ else None)
        for name, data, id_ in events
    ]
