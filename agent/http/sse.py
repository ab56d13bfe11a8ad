"""Server-sent events: one JSON object an event, comments as heartbeats, no reader that hangs on.

sse-starlette does the work: it is the one the LangGraph server's own streams grew from. It pings
idle streams, and ends the generator when the reader leaves. What is ours is the end of a reader
that takes nothing: its response ends where it is, without the last event that each stream has.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
import structlog
from sse_starlette.event import ServerSentEvent
from sse_starlette.sse import EventSourceResponse, SendTimeoutError
from starlette.types import Receive, Scope, Send

from agent.http.runs import Events
from agent.settings import Settings

log = structlog.stdlib.get_logger(__name__)


class EventStream(EventSourceResponse):
    """Sends `events`, pairs of an id (or None) and a JSON object, as they come."""

    def __init__(self, events: Events, config: Settings) -> None:
        super().__init__(
            _encoded(events),
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


async def _encoded(events: Events) -> AsyncGenerator[ServerSentEvent]:
    async with aclosing(events):
        async for event_id, event in events:
            yield ServerSentEvent(orjson.dumps(event).decode(), id=event_id, sep="\n")
