"""A run's events in one Redis stream: every reader, in any process, gets each event once, in order.

Aegra's own broker replays a list and then subscribes to a channel: a reader misses what comes
between the two, or while a connection to Redis is made anew. A Redis stream is both at once: it is
read from any position, and a read at its end waits for more.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import structlog
from aegra_api.core.orm import Run, get_session_maker
from aegra_api.core.redis_manager import redis_manager
from aegra_api.services import redis_broker
from aegra_api.services.base_broker import REPLAY_RETENTION_SECONDS, BaseRunBroker
from aegra_api.services.run_status import ACTIVE_RUN_STATES
from aegra_api.utils import extract_event_sequence, generate_event_id
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from agent.scale.patience import patiently

log = structlog.stdlib.get_logger(__name__)

MOST_EVENTS = 10_000  # of one run; the oldest go first
WAIT_MS = 1000  # for the next event; after it the run's status is read
_START = "0-0"
_AT_ONCE = 500
_SIGNALS = ("end", "error")  # written by whoever stops a run

Event = tuple[str, Any]

# In the task of a reader: a run, the newest entry when its events were replayed, and if it ends it.
_replayed = ContextVar[tuple[str, str, bool]]("replayed", default=("", "", False))

# The process that starts the run, or starts it again, is its writer from then on: a write of any
# other is dropped, however late it arrives. A stop may come from any process.
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

# The newest entry, then what follows the event with this number, the newest first: found from the
# end, so that it costs what was missed. Signals have the numbers of other clocks.
_MISSED = """
local found, before, count = {}, '+', 16
while true do
    local entries = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', count)
    for _, entry in ipairs(entries) do
        local at, id, payload = entry[1], entry[2][2], entry[2][4]
        if #found == 0 then found[1] = {at} end
        local is_signal = string.find(payload, '^%["end"') or string.find(payload, '^%["error"')
        local number = tonumber(string.match(id, '%d+$'))
        if number <= tonumber(ARGV[1]) and not is_signal then return found end
        found[#found + 1] = {at, id, payload}
    end
    if #entries < count then return found end
    before, count = '(' .. entries[#entries][1], 2 * count
end
"""


class StreamBroker(BaseRunBroker):
    """The events of one run. While Redis is away, writes wait, and reads keep their position."""

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
        text = redis_broker._serialize_payload(payload)
        is_signal = payload[0] in _SIGNALS
        begins = payload[0] == "metadata" or not (self._writer or is_signal)
        if begins:
            self._writer = uuid.uuid4().hex
        writer = "" if is_signal else self._writer
        limits = [MOST_EVENTS, REPLAY_RETENTION_SECONDS]

        async def write() -> Any:
            keys = [self._key, f"{self._key}:writer"]
            args = [writer, int(begins), *limits, event_id, text]
            return await redis_manager.get_client().eval(_WRITE, len(keys), *keys, *args)

        if not is_signal:
            await lease.still_ours()
        async with self._turn:
            if not await patiently(write):
                lease.leave(self._run_id)
        self._is_finished = self._is_finished or _is_end(payload)

    async def aiter(self) -> AsyncIterator[Event]:
        """All events as they come, until the last or the run's end; after those just replayed."""
        run_id, replayed, has_ended = _replayed.get()
        is_rest = run_id == self._run_id
        if is_rest and has_ended:
            return
        at, last = replayed if is_rest else _START, ""
        while True:
            is_over = not await self._is_active()
            is_gone = is_over and at == _START  # or its events are there at once
            while entries := await self._after(at, None if is_gone else WAIT_MS):
                at = entries[-1][0]
                for _, fields in entries:
                    event_id, payload = _event(fields)
                    if event_id != last:  # written twice, if Redis's first answer was lost
                        last = event_id
                        yield event_id, payload
                    if _is_end(payload):
                        return
            if is_over:
                return

    async def replay(self, last_event_id: str | None) -> list[Event]:
        """The events after this one; all of them where there is none."""
        after = extract_event_sequence(last_event_id or "")

        async def read() -> Any:
            client = redis_manager.get_client()
            if not after:
                return await client.xrange(self._key)
            return await client.eval(_MISSED, 1, self._key, after)

        entries = await patiently(read)
        if not after or not entries:
            return list(dict(_event(fields) for _, fields in entries).items())
        [newest], *missed = entries
        found = dict(_event({"id": each, "payload": text}) for _, each, text in reversed(missed))
        events = list(found.items())
        _replayed.set((self._run_id, newest, bool(events) and _is_end(events[-1][1])))
        return events

    async def _after(self, at: str, wait_ms: int | None) -> list[Any]:
        """The entries after this position; none if none came for a while (None: at once)."""

        async def read() -> Any:
            return await redis_manager.get_client().xread({self._key: at}, _AT_ONCE, wait_ms)

        streams = await patiently(read)
        return list(streams[0][1]) if streams else []

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
        """Microseconds: a worker that takes over begins seconds later, so its ids are greater."""
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return str(generate_event_id(run_id, self._last))


def apply() -> None:
    """Replaces Aegra's brokers; to be called before the import of its app."""
    from aegra_api.services import broker

    broker.broker_manager = StreamBrokers()


def _event(fields: dict[str, str]) -> Event:
    return fields["id"], redis_broker._deserialize_payload(json.loads(fields["payload"]))


def _is_end(payload: Any) -> bool:
    return isinstance(payload, tuple) and bool(payload) and payload[0] == "end"
