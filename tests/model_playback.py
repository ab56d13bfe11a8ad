"""Sends the events of one reply at their pace, fails where the script says, sees the reader go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tests.model_script import Fault
from tests.model_wire import Event, error_body

_BATCH_EVENTS = 64  # at full speed, so that neither a write nor a turn of the loop costs a token


class ReaderLeft(Exception):
    """The reader closed the connection before the end."""


class _Cut(Exception):
    """Raised out of the application, which makes the HTTP server drop the connection."""


@dataclass(frozen=True)
class Pace:
    """The first token goes out after `wait_seconds`; the rest at `rate` a second, or at once."""

    wait_seconds: float = 0.0
    rate: float | None = None


class Playback(Response):
    """A response that plays `events` inside `watch`, through which `ReaderLeft` is raised.

    Once `hurry` is set, what is left has no pace any more.
    """

    def __init__(
        self,
        events: Iterable[Event],
        media_type: str,
        pace: Pace,
        fault: Fault | None,
        watch: AbstractContextManager[None],
        hurry: asyncio.Event,
    ) -> None:
        super().__init__(media_type=media_type, headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events, self._pace, self._watch, self._hurry = events, pace, watch, hurry
        streamed = media_type == "text/event-stream"
        self._fault = fault if streamed or fault is None else replace(fault, after_tokens=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        self._left = asyncio.ensure_future(_reader_left(receive))
        self._hurried = asyncio.ensure_future(self._hurry.wait())
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        try:
            with self._watch:
                await send(head)
                await self._play()
                await send({"type": "http.response.body", "body": b""})
        finally:
            self._left.cancel()
            self._hurried.cancel()

    async def _play(self) -> None:
        rate, start = self._pace.rate, asyncio.get_running_loop().time() + self._pace.wait_seconds
        fault, sent, batch = self._fault, 0, list[bytes]()
        for data, is_token in self._events:
            if fault and sent == fault.after_tokens and (is_token or sent):
                await self._write(batch)
                await self._fail(fault)
                if fault.kind != "bad_json":
                    return
                fault = None
            if is_token:
                if (rate and not self._hurried.done()) or not sent:
                    await self._write(batch)
                    await self._wait_until(start + sent / rate if rate else start)
                sent += 1
            batch.append(data)
            if len(batch) >= _BATCH_EVENTS:
                await self._write(batch)
                await asyncio.sleep(0)
        await self._write(batch)

    async def _write(self, batch: list[bytes]) -> None:
        if self._left.done():
            raise ReaderLeft
        if batch:
            body = b"".join(batch)
            batch.clear()
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def _wait_until(self, when: float) -> None:
        delay_seconds = when - asyncio.get_running_loop().time()
        waited_for = self._left, self._hurried
        await asyncio.wait(
            waited_for, timeout=max(delay_seconds, 0), return_when=asyncio.FIRST_COMPLETED
        )

    async def _fail(self, fault: Fault) -> None:
        if fault.kind == "stall":
            await self._left
            raise ReaderLeft
        if fault.kind == "disconnect":
            raise _Cut
        if fault.kind == "bad_json":
            await self._write([b'data: {"id": "chatcmpl-\n\n'])
        if fault.kind == "error_event":
            body = orjson.dumps({"type": "error", **error_body(fault.status)})
            await self._write([b"event: error\ndata: " + body + b"\n\n"])


async def _reader_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
