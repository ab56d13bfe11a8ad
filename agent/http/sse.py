"""Server-sent events: one JSON object an event, comments as heartbeats, no reader that hangs on.

sse-starlette does the work: it is the one the LangGraph server's own streams grew from. It pings
idle streams, and ends the generator when the reader leaves. What is ours is the end: an error, or a
server that stops, is told by the stream's last events; a reader that takes nothing is let go.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from agent.http.runs import AsEvents, Events, encoded
from agent.http.shutdown import open_stream, stopping
from agent.settings import Settings
from client import SteadyError

log = structlog.stdlib.get_logger(__name__)


class EventStream(EventSourceResponse):
    """Sends `events`, pairs of an id (or None) and a JSON object, as they come.

    What they raise is sent as `as_events` gives it: the HTTP status has gone out already.
    """

    def __init__(self, events: Events, as_events: AsEvents, config: Settings) -> None:
        super().__init__(
            _written(events, as_events),
            headers={"Cache-Control": "no-cache"},
            ping=config.steady_heartbeat_seconds,
            send_timeout=config.steady_stalled_reader_seconds,
            sep="\n",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            await log.ainfo(f"A reader that took nothing for {self.send_timeout:g} s was let go.")


async def _written(events: Events, as_events: AsEvents) -> AsyncGenerator[ServerSentEvent]:
    with open_stream() as stream:
        try:
            async with aclosing(events):
                async for event_id, event in events:
                    written = _event(event_id, encoded(event))
                    stream.is_waiting = False
                    yield written
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
        for event_id, event in as_events(error):
            yield _event(event_id, encoded(event))


def _event(event_id: str | None, text: str) -> ServerSentEvent:
    return ServerSentEvent(text, id=event_id, sep="\n")
