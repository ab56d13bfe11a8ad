"""Server-sent events: one JSON object an event, comments as heartbeats, no reader that hangs on.

sse-starlette does the work: it is the one the LangGraph server's own streams grew from. It pings
idle streams, and ends the generator when the reader leaves. What is ours is the end: an error, or a
server that stops, is told by the stream's last events; a reader that takes nothing is let go.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import structlog
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from agent.http.runs import IdAndEvent, encoded
from agent.http.shutdown import open_stream, stopping
from agent.settings import Settings
from client import SteadyError

log = structlog.stdlib.get_logger(__name__)


def written_event(event: IdAndEvent) -> ServerSentEvent:
    """An event of ours: its id (or None) and a JSON object."""
    event_id, fields = event
    return ServerSentEvent(encoded(fields), id=event_id, sep="\n")


class EventStream(EventSourceResponse):
    """Sends `events` as they come, each as `written` gives it.

    What they raise is sent as `as_events` gives it: the HTTP status has gone out already.
    """

    def __init__(
        self,
        events: AsyncGenerator[Any],
        as_events: Callable[[SteadyError], list[Any]],
        config: Settings,
        written: Callable[[Any], ServerSentEvent] = written_event,
    ) -> None:
        super().__init__(
            _sent(events, as_events, written),
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


async def _sent(
    events: AsyncGenerator[Any],
    as_events: Callable[[SteadyError], list[Any]],
    written: Callable[[Any], ServerSentEvent],
) -> AsyncGenerator[ServerSentEvent]:
    with open_stream() as stream:
        try:
            async with aclosing(events):
                async for event in events:
                    sent = written(event)
                    stream.is_waiting = False
                    yield sent
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
        for event in as_events(error):
            yield written(event)
