"""The events of one run in Redis: written in order, each once, by one process at a time.

What the runs of a process write within some milliseconds goes to Redis together.
"""

import asyncio
import contextvars
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from aegra_api.core.redis_manager import redis_manager
from aegra_api.services.base_broker import REPLAY_RETENTION_SECONDS
from redis.exceptions import NoScriptError

from agent.scale.patience import patiently
from agent.scale.stored_event import Encoded, StoredEvent, from_redis, to_redis

MOST_EVENTS = 10_000  # of one run; the oldest go first
_AT_ONCE = 500
_FIRST_EVENTS = 3  # of a run: somebody waits for them
_BETWEEN_WRITES_SECONDS = 0.01  # on average; much less than a frame
_WRITES_AT_ONCE = 10  # after a pause: the events that end an answer come together
_TAKEN, _UNKNOWN_METADATA = 0, -1

# The process that starts the run, or starts it again, is its writer from then on: a write of any
# other is dropped, however late it arrives. A signal, which has no writer, may come from any. An
# event is numbered by its writer: one that is sent again, since the answer was lost, is not written
# again.
_WRITE = """
local events, run = KEYS[1], KEYS[2]
local writer, number, begins, seconds = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[5]
local name, data, key, metadata = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local known = redis.call('HMGET', run, 'writer', 'number', 'last', 'before', key)
if begins == '1' and known[1] ~= writer then
  redis.call('HSET', run, 'writer', writer)
  known[1], known[2] = writer, false
end
if writer ~= '' then
  if known[1] and known[1] ~= writer then return 0 end
  if number <= tonumber(known[2] or 0) then return {known[4], known[3]} end
end
if key ~= '' and not known[5] then
  if metadata == '' then return -1 end
  redis.call('HSET', run, key, metadata)
end
local before = known[3] or '0-0'
local fields = {'name', name, 'data', data}
if key ~= '' then fields[5], fields[6] = 'metadata', key end
local last = redis.call('XADD', events, 'MAXLEN', '~', ARGV[4], '*', unpack(fields))
redis.call('HSET', run, 'last', last, 'before', before)
if writer ~= '' then redis.call('HSET', run, 'number', number) end
redis.call('EXPIRE', events, seconds)
redis.call('EXPIRE', run, seconds)
return {before, last}
"""
_SCRIPT_SHA = hashlib.sha1(_WRITE.encode(), usedforsecurity=False).hexdigest()


class Written(NamedTuple):
    """The position of an event that was written, and of the one before it."""

    before: int
    position: int


class EventStream:
    """A run's stream. While Redis is away, its calls wait.

    Args:
        key: begins the names of what is stored of the run.
    """

    def __init__(self, key: str) -> None:
        self._keys = [f"{key}:events", f"{key}:run"]
        self._metadata: dict[str, str] = {}

    async def write(
        self, encoded: Encoded, writer: str, number: int, *, begins: bool
    ) -> Written | None:
        """Writes an event; returns None if the run has another writer.

        Args:
            encoded: the event.
            writer: the name of the run's writer; empty for a signal.
            number: greater than that of the writer's last event.
            begins: whether the run is this writer's from now on.
        """
        key = encoded.key
        limits = (MOST_EVENTS, REPLAY_RETENTION_SECONDS)
        arguments = (*self._keys, writer, number, int(begins), *limits, encoded.name, encoded.data)
        metadata = "" if key in self._metadata else encoded.metadata
        write = _write_at_once if number <= _FIRST_EVENTS else _writes.write
        answer = await write((*arguments, key, metadata))
        if answer == _UNKNOWN_METADATA:  # Redis has lost what it knew
            answer = await write((*arguments, key, encoded.metadata))
        if answer == _TAKEN:
            return None
        if key:
            self._metadata[key] = encoded.metadata
        return Written(*map(from_redis, answer))

    async def read(self, after: int, wait_ms: int | None) -> Sequence[StoredEvent]:
        """The next events after this position; none if none came for so long."""

        async def read() -> Any:
            at = {self._keys[0]: to_redis(after)}
            return await redis_manager.get_client().xread(at, _AT_ONCE, wait_ms)

        streams = await patiently(read)
        entries = streams[0][1] if streams else []
        return [await self._stored(entry_id, fields) for entry_id, fields in entries]

    async def _stored(self, entry_id: str, fields: dict[str, str]) -> StoredEvent:
        key = fields.get("metadata", "")
        if key and key not in self._metadata:
            run = self._keys[1]
            text = await patiently(lambda: redis_manager.get_client().hget(run, key))
            self._metadata[key] = text or "{}"
        encoded = Encoded(fields["name"], fields["data"], self._metadata[key] if key else "")
        return StoredEvent(from_redis(entry_id), encoded)


class _Writes:
    """What waits to be written goes together, as soon as what went before is written.

    With many runs it waits a little for more: a write costs the same with one event as with ten.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._due = 0.0

    async def write(self, arguments: tuple[Any, ...]) -> Any:
        """Redis's answer. Raises RedisError if Redis stays away for long."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, written))
        if self._sending is None:  # of no run: it goes on when the first one's task has ended
            send = self._send()
            self._sending = asyncio.create_task(send, context=contextvars.Context())
        return await written

    async def _send(self) -> None:
        try:
            while self._waiting:
                await self._wait_for_more()
                batch, self._waiting = self._waiting, []
                execute = partial(_execute, [arguments for arguments, _ in batch])
                try:
                    answers = await patiently(execute)
                except Exception as error:
                    answers = [error] * len(batch)
                for (_, written), answer in zip(batch, answers, strict=True):
                    if written.done():
                        continue  # who waited was cancelled
                    if isinstance(answer, Exception):
                        written.set_exception(answer)
                    else:
                        written.set_result(answer)
        finally:
            self._sending = None

    async def _wait_for_more(self) -> None:
        now, spared = time.monotonic(), _WRITES_AT_ONCE * _BETWEEN_WRITES_SECONDS
        self._due = max(self._due, now - spared) + _BETWEEN_WRITES_SECONDS
        if self._due > now:
            await asyncio.sleep(self._due - now)


_writes = _Writes()


async def _write_at_once(arguments: tuple[Any, ...]) -> Any:
    return (await patiently(lambda: _execute([arguments])))[0]


async def _execute(batch: Sequence[tuple[Any, ...]]) -> list[Any]:
    client = redis_manager.get_client()
    pipeline = client.pipeline(transaction=False)
    for arguments in batch:
        pipeline.evalsha(_SCRIPT_SHA, 2, *arguments)
    try:
        return list(await pipeline.execute())
    except NoScriptError:
        await client.script_load(_WRITE)
        return await _execute(batch)
