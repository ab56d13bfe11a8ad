"""An event of a run as it is stored: encoded once, by the process that carries the run out.

Readers pass its JSON on as it is. The metadata of messages, which is longer than most pieces of an
answer and the same for many, is kept apart.
"""

import hashlib
import json
from functools import lru_cache
from typing import Any, NamedTuple, Self

import orjson
from aegra_api.core.sse import create_debug_event
from aegra_api.services import redis_broker
from aegra_api.utils import extract_event_sequence, generate_event_id
from pydantic import BaseModel

from agent.http.brief_messages import brief_fields, brief_metadata

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
_IN_A_MILLISECOND = 1_000  # more than one run writes in it; positions are microseconds so
_LAST_POSITION = 2**62  # more than there will be
_RUNS = 1_000  # at a time, more or less


class Encoded(NamedTuple):
    """What is written of an event: its name, its JSON, and the metadata of a message."""

    name: str
    data: str
    metadata: str = ""

    @classmethod
    def of(cls, payload: Any) -> Self:
        """Encodes what Aegra puts: a name and the data; other forms are values."""
        if not isinstance(payload, tuple) or len(payload) != 2:
            return cls("values", _json(payload))
        name, data = payload
        if name.startswith("messages") and isinstance(data, tuple) and len(data) == 2:
            return cls(name, _json(data[0]), _json(data[1]))
        return cls(name, _json(data))

    @property
    def key(self) -> str:
        """The name under which the metadata is stored; empty where there is none."""
        return _key(self.metadata) if self.metadata else ""


class StoredEvent(NamedTuple):
    """An event with its position in the run's stream: a number that grows."""

    position: int
    encoded: Encoded

    @property
    def data(self) -> str:
        """Its JSON."""
        _, data, metadata = self.encoded
        return f"[{data},{metadata}]" if metadata else data

    def payload(self) -> tuple[str, Any]:
        """What was put, but for tuples within it, which are lists."""
        return self.encoded.name, json.loads(self.data)

    def as_server_sent(self, run_id: str, *, is_brief: bool = False) -> str:
        """The event as readers get it; a message without what it repeats, where that `is_brief`."""
        (name, text, metadata), event_id = self.encoded, generate_event_id(run_id, self.position)
        if name == "debug":
            return str(create_debug_event(json.loads(self.data), event_id))
        data = _brief(text, metadata) if is_brief and metadata else self.data
        return f"event: {name}\ndata: {data}\nid: {event_id}\n\n"


def position_of(event_id: str | None) -> int:
    """The position of an event that a reader names; 0, before the first, if there is none such."""
    position = extract_event_sequence(event_id or "")
    return position if 0 < position < _LAST_POSITION else 0


def from_redis(entry_id: str) -> int:
    """The position of an entry of a Redis stream."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds) * _IN_A_MILLISECOND + int(number)


def to_redis(position: int) -> str:
    """The entry of a Redis stream that has this position."""
    return "{}-{}".format(*divmod(position, _IN_A_MILLISECOND))


def _brief(data: str, metadata: str) -> str:
    try:
        message = orjson.dumps(brief_fields(orjson.loads(data))).decode()
        return f"[{message},{_brief_metadata(metadata)}]"
    except (AttributeError, ValueError):  # what is no message, or what orjson does not read
        return f"[{data},{metadata}]"


@lru_cache(maxsize=_RUNS)
def _brief_metadata(text: str) -> str:
    return orjson.dumps(brief_metadata(orjson.loads(text))).decode()


@lru_cache(maxsize=_RUNS)
def _key(text: str) -> str:
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, _plain, _OPTIONS).decode()
    except TypeError:  # what orjson does not write: half of a surrogate pair, a huge number
        return str(redis_broker._serialize_payload(value))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return redis_broker._serializer.serialize(value)
