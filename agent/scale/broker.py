"""A run's events in one Redis stream: every reader, in any process, gets each event once, in order.

Aegra's own broker replays a list and then subscribes to a channel: a reader misses what comes
between the two, or while a connection to Redis is made anew. A Redis stream is both at once: it is
read from any position, and a read at its end waits for more. Readers in the process that carries
the run out take its latest events from memory.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from weakref import WeakValueDictionary

import structlog
from aegra_api.core.orm import Run, get_session_maker
from aegra_api.core.sse import create_error_event
from aegra_api.services import redis_broker
from aegra_api.services.base_broker import BaseRunBroker
from aegra_api.services.run_status import ACTIVE_RUN_STATES
from aegra_api.utils import generate_event_id
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from agent.http import brief_messages
from agent.scale.event_stream import EventStream, Written
from agent.scale.stored_event import Encoded, StoredEvent, position_of

log = structlog.stdlib.get_logger(__name__)

WAIT_SECONDS = 1.0  # for the next event; after it the run's status is read
MOST_IN_MEMORY = 32  # events of a run; a slower reader reads them from Redis
_SIGNALS = ("end", "error")  # written by whoever stops a run

Event = tuple[str, Any]


class _LatestEvents:
    """The latest events of a run, as long as nobody but this process writes any."""

    def __init__(self) -> None:
        self._events: deque[StoredEvent] = deque()
        self._since: int | None = None  # all events after this position are here
        self._last: int | None = None
        self._readers = list[asyncio.Future[None]]()

    def add(self, encoded: Encoded, written: Written) -> None:
        if written.position == self._last:
            return  # Redis's first answer was lost
        if written.before != self._last:
            self._events.clear()
            self._since = written.before
        self._last = written.position
        self._events.append(StoredEvent(written.position, encoded))
        if len(self._events) > MOST_IN_MEMORY:
            self._since = self._events.popleft().position
        self._wake()

    def begin(self) -> None:
        """The run has no events yet, and this process writes the first."""
        self._since = 0

    def forget(self) -> None:
        """Another process may have written the next events."""
        self._since = self._last = None
        self._wake()

    def after(self, position: int) -> list[StoredEvent] | None:
        """The events after this position; None if some may not be here."""
        if self._since is None or position < self._since:
            return None
        return [event for event in self._events if event.position > position]

    async def wait_after(self, position: int) -> list[StoredEvent] | None:
        """As `after`, when there are any, or after a while."""
        if (events := self.after(position)) != []:
            return events
        loop = asyncio.get_running_loop()
        news = loop.create_future()
        self._readers.append(news)
        timer = loop.call_later(WAIT_SECONDS, self._wake)
        try:
            await news
        finally:
            timer.cancel()
        return self.after(position)

    def _wake(self) -> None:
        readers, self._readers = self._readers, []
        for news in readers:
            if not news.done():  # who waited was cancelled
                news.set_result(None)


class StreamBroker(BaseRunBroker):
    """The events of one run. While Redis is away, writes wait, and reads keep their position."""

    def __init__(self, run_id: str, key: str) -> None:
        self._run_id = run_id
        self._stream = EventStream(key)
        self._latest = _LatestEvents()
        self._is_finished = False
        self._turn = asyncio.Lock()
        self._writer = ""
        self._number = 0

    async def put(self, event_id: str, payload: Any, *, resumable: bool = True) -> None:
        """Writes an event. Raises RedisError if Redis stays away for long."""
        from agent.scale import lease  # it needs Aegra's executor, which needs its broker

        if self._is_finished:
            return
        encoded = Encoded.of(payload)
        is_signal = encoded.name in _SIGNALS
        begins = encoded.name == "metadata" or not (self._writer or is_signal)
        if begins:
            self._writer = uuid.uuid4().hex
        writer = "" if is_signal else self._writer
        if not is_signal:
            await lease.still_ours()
        async with self._turn:
            self._number += 1
            written = await self._stream.write(encoded, writer, self._number, begins=begins)
            if written is None:
                self._latest.forget()
                lease.leave(self._run_id)
            self._latest.add(encoded, written)
        self._is_finished = self._is_finished or encoded.name == "end"

    def begin(self) -> None:
        """The run has just been begun, by this process: its events come to readers here at once."""
        self._latest.begin()

    async def events(self, after: int, *, is_over: bool = False) -> AsyncGenerator[StoredEvent]:
        """The events after this position, as they come, until the last or the run's end.

        Args:
            after: the position; 0 for all.
            is_over: whether the run is known to have ended.
        """
        at, last_signal, waits = after, None, not is_over
        while True:
            events = await self._next(at, waits=waits)
            for event in events:
                at, name = event.position, event.encoded.name
                if name not in _SIGNALS or event.encoded != last_signal:
                    yield event
                last_signal = event.encoded  # written twice, if Redis's first answer was lost
                if name == "end":
                    return
            if not events:
                if is_over:
                    return
                is_over = not await self._is_active()

    async def _next(self, at: int, *, waits: bool) -> Sequence[StoredEvent]:
        """The events after this position; none if none came for a while."""
        latest = self._latest.after(at)
        if latest is None:
            return await self._stream.read(at, int(1000 * WAIT_SECONDS) if waits else None)
        if not latest and waits:
            latest = await self._latest.wait_after(at)
        if latest:
            return latest
        events = await self._stream.read(at, None)
        if events and not self._latest.after(at):
            self._latest.forget()
        return events

    async def aiter(self) -> AsyncIterator[Event]:
        """All events from the first on, as they come, until the last or the run's end."""
        async with aclosing(self.events(0)) as events:
            async for event in events:
                yield generate_event_id(self._run_id, event.position), event.payload()

    async def replay(self, last_event_id: str | None) -> list[Event]:
        """The events after this one that are there already."""
        at, found = position_of(last_event_id), list[Event]()
        while events := await self._stream.read(at, None):
            at = events[-1].position
            found += [
                (generate_event_id(self._run_id, event.position), event.payload())
                for event in events
            ]
        return found

    async def _is_active(self) -> bool:
        try:
            async with get_session_maker()() as session:
                status = await session.scalar(select(Run.status).where(Run.run_id == self._run_id))
        except (SQLAlchemyError, OSError) as error:
            await log.awarning(f"The database is away: {error}")
            return True
        return status in ACTIVE_RUN_STATES

    def mark_finished(self) -> None:
        self._is_finished = True

    def is_finished(self) -> bool:
        return self._is_finished


class StreamBrokers(redis_broker.RedisBrokerManager):
    """Aegra's manager with these brokers, and ids that need no Redis."""

    def __init__(self) -> None:
        super().__init__()
        self._read = WeakValueDictionary[str, StreamBroker]()

    def _make_broker(self, run_id: str) -> StreamBroker:
        return self.to_read(run_id)

    def to_read(self, run_id: str) -> StreamBroker:
        """The run's broker, which is kept as long as somebody reads, or the run is here."""
        broker = self._brokers.get(run_id) or self._read.get(run_id)
        if broker is None or broker.is_finished():
            broker = StreamBroker(run_id, f"{self._channel_prefix}stream:{run_id}")
            self._read[run_id] = broker
        return broker

    async def allocate_event_id(self, run_id: str) -> str:
        """Any id: readers get one by the event's position."""
        return str(generate_event_id(run_id, time.time_ns()))


async def server_sent_events(run: Any, last_event_id: str | None = None) -> AsyncIterator[str]:
    """A run's events as its readers get them, from the one after the last that they have."""
    from aegra_api.services.broker import broker_manager

    broker = broker_manager.to_read(run.run_id)
    is_over = run.status not in ACTIVE_RUN_STATES
    events = broker.events(position_of(last_event_id), is_over=is_over)
    if asks := brief_messages.asked.get():
        asks.is_written = True
    try:
        async with aclosing(events):
            async for event in events:
                yield event.as_server_sent(run.run_id, is_brief=asks is not None)
    except Exception as error:
        await log.aexception("The events of a run could not be read.", run_id=run.run_id)
        yield create_error_event({"error": type(error).__name__, "message": "execution failed"})


def apply() -> None:
    """Replaces Aegra's brokers; to be called before the import of its app."""
    from aegra_api.services import broker

    broker.broker_manager = brokers = StreamBrokers()

    from aegra_api.services.streaming_service import streaming_service

    async def put(run_id: str, event_id: str, event: Any) -> None:
        """Without Aegra's own count of the run's events, which nobody reads."""
        await brokers.get_or_create_broker(run_id).put(event_id, event)

    streaming_service.put_to_broker = put
    streaming_service.stream_run_execution = server_sent_events
