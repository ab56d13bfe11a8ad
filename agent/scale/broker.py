"""A run's events in one Redis stream: each reader, wherever it is, reads each event once, in order.

Aegra's own broker replays a list and then listens to a channel: what is said between the two, or
while a connection to Redis is made anew, a reader misses. A Redis stream is both at once: it is
read from any place on, and waits at its end for more.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import structlog
from aegra_api.core.orm import Run, get_session_maker
from aegra_api.core.redis_manager import redis_manager
from aegra_api.services import redis_broker
from aegra_api.services.base_broker import REPLAY_RETENTION_SECONDS, BaseRunBroker
from aegra_api.services.run_status import ACTIVE_RUN_STATES
from aegra_api.utils import generate_event_id
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from agent.scale.patience import patiently

log = structlog.stdlib.get_logger(__name__)

MOST_EVENTS = 10_000  # of one run; the oldest go first
WAIT_MS = 1000  # for the next event; then the run is asked whether it goes on
_START = "0-0"
_AT_ONCE = 500
_SIGNALS = ("end", "error")  # whoever stops a run may say so

Event = tuple[str, Any]

# Who begins the run, or begins it again, is its writer from then on; a write of another's is none,
# however late it arrives. A stop comes from anywhere.
_WRITE = """
local stream, owner = KEYS[1], KEYS[2]
local writer, begins, most, seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if begins == '1' then redis.call('SET', owner, writer, 'EX', seconds) end
local known = redis.call('GET', owner)
if writer ~= '' and known and known ~= writer then return 0 end
redis.call('XADD', stream, 'MAXLEN', '~', most, '*', 'id', ARGV[5], 'payload', ARGV[6])
redis.call('EXPIRE', stream, seconds)
redis.call('EXPIRE', owner, seconds)
return 1
"""


class StreamBroker(BaseRunBroker):
    """The events of one run. Writing waits while Redis is away; reading goes on where it was."""

    def __init__(self, run_id: str, key: str) -> None:
        self._run_id = run_id
        self._key = key
        self._is_finished = False
        self._turn = asyncio.Lock()
        self._writer = ""

    async def put(self, event_id: str, payload: Any, *, resumable: bool = True) -> None:
        """Writes an event. Raises RedisError if Redis stays away for long."""
        from agent.scale import lease  # it needs Aegra's executor, which needs its broker

        if self._is_finished:
            return
        told = redis_broker._serialize_payload(payload)
        is_signal = payload[0] in _SIGNALS
        begins = payload[0] == "metadata" or not (self._writer or is_signal)
        if begins:
            self._writer = uuid.uuid4().hex
        writer = "" if is_signal else self._writer
        limits = [MOST_EVENTS, REPLAY_RETENTION_SECONDS]

        async def write() -> Any:
            keys = [self._key, f"{self._key}:writer"]
            asked = [writer, int(begins), *limits, event_id, told]
            return await redis_manager.get_client().eval(_WRITE, len(keys), *keys, *asked)

        if not is_signal:
            await lease.still_ours()
        async with self._turn:
            if not await patiently(write):
                lease.leave(self._run_id)
        self._is_finished = self._is_finished or _is_end(payload)

    async def aiter(self) -> AsyncIterator[Event]:
        """All events from the first on, as they come, until the last or the run's end."""
        at, last = _START, ""
        while True:
            is_over = not await self._is_active()
            while found := await self._after(at):
                at = found[-1][0]
                for _, fields in found:
                    event_id, payload = _event(fields)
                    if event_id != last:  # written again, where the first answer got lost
                        last = event_id
                        yield event_id, payload
                    if _is_end(payload):
                        return
            if is_over:
                return

    async def replay(self, last_event_id: str | None) -> list[Event]:
        """What there is after the event; all of it where that is not known."""

        async def read() -> Any:
            return await redis_manager.get_client().xrange(self._key)

        found = await patiently(read)
        events = dict(_event(fields) for _, fields in found)
        ids = list(events)
        after = ids.index(last_event_id) + 1 if last_event_id in events else 0
        return [(event_id, events[event_id]) for event_id in ids[after:]]

    async def _after(self, at: str) -> list[Any]:
        """What follows the place; nothing, where nothing came for a while."""

        async def read() -> Any:
            return await redis_manager.get_client().xread({self._key: at}, _AT_ONCE, WAIT_MS)

        found = await patiently(read)
        return list(found[0][1]) if found else []

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
        self._last = 0

    def _make_broker(self, run_id: str) -> StreamBroker:
        return StreamBroker(run_id, f"{self._channel_prefix}stream:{run_id}")

    async def allocate_event_id(self, run_id: str) -> str:
        """Microseconds: a worker that takes over comes seconds later, and so goes on from there."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return str(generate_event_id(run_id, self._last))


def apply() -> None:
    """Puts these brokers in the place of Aegra's: before its app is imported, which holds on."""
    from aegra_api.services import broker

    broker.broker_manager = StreamBrokers()


def _event(fields: dict[str, str]) -> Event:
    return fields["id"], redis_broker._deserialize_payload(json.loads(fields["payload"]))


def _is_end(payload: Any) -> bool:
    return isinstance(payload, tuple) and bool(payload) and payload[0] == "end"
