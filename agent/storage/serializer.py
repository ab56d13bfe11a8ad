"""Reads a thread's messages from storage without pydantic's checks: they were made before.

A turn on a long thread reads hundreds of messages, and the checks were most of its cost. This uses
private names of LangGraph and pydantic; where it does not read exactly what LangGraph's serializer
reads, that is used instead.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import ormsgpack
import structlog
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import (
    EXT_DELTA_SNAPSHOT,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot

log = structlog.stdlib.get_logger(__name__)

_KNOWN: dict[tuple[str, str], tuple[type[BaseMessage], frozenset[str]]] = {
    (kind.__module__, kind.__name__): (kind, frozenset(kind.model_fields))
    for kind in (HumanMessage, AIMessage, ToolMessage, SystemMessage)
}

_FIELDS = {kind: set(names) for kind, names in _KNOWN.values()}
_new, _set = object.__new__, object.__setattr__


@lru_cache(maxsize=1)
def serializer() -> JsonPlusSerializer:
    """The serializer of threads: the fast one if it reads as LangGraph's does, else LangGraph's."""
    fast, plain = StoredMessages(), JsonPlusSerializer()
    if _reads_alike(fast, plain):
        return fast
    log.warning("LangGraph stores messages in another way than expected: long threads cost more.")
    return plain


def _reads_alike(one: JsonPlusSerializer, other: JsonPlusSerializer) -> bool:
    samples = [
        HumanMessage("text", id="1", name="ada"),
        AIMessage("", id="2", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}]),
        ToolMessage("result", id="3", tool_call_id="c", status="error"),
        SystemMessage([{"type": "text", "text": "part"}]),
    ]
    try:
        for sample in (*samples, samples, {"messages": _DeltaSnapshot(samples)}):
            stored = other.dumps_typed(sample)
            first, second = one.loads_typed(stored), other.loads_typed(stored)
            if type(first) is not type(second) or first != second:
                return False
            if repr(first) != repr(second):
                return False
    except Exception:
        return False
    return True


class StoredMessages(JsonPlusSerializer):
    """LangGraph's serializer, but for messages that were written with just the fields of today."""

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, packed = data
        return self._unpacked(packed) if kind == "msgpack" else super().loads_typed(data)

    def _unpacked(self, packed: bytes) -> Any:
        options = ormsgpack.OPT_NON_STR_KEYS
        return ormsgpack.unpackb(packed, ext_hook=self._unpack_extension, option=options)

    def _unpack_extension(self, code: int, packed: bytes) -> Any:
        if code == EXT_DELTA_SNAPSHOT:
            with _without_collections():
                return _DeltaSnapshot(self._unpacked(packed))
        if code == EXT_PYDANTIC_V2:
            module, name, fields, *_ = self._unpacked(packed)
            kind, known = _KNOWN.get((module, name), (None, None))
            if kind is not None and fields.keys() == known:
                return _restored(kind, fields)
        return self._unpack_ext_hook(code, packed)  # other types, as they are allowed


@contextmanager
def _without_collections() -> Iterator[None]:
    """A long thread is thousands of objects that all stay: to look for garbage among them, again
    and again, takes longer than to make them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _restored(kind: type[BaseMessage], fields: dict[str, Any]) -> BaseMessage:
    """As pickle makes it again: pydantic's `model_construct` looks at each field in turn.

    Messages share the set of their fields' names. Pydantic adds what is assigned to: only the name
    of an extra field would be new there, and nobody asks the set for those.
    """
    message = _new(kind)
    _set(message, "__dict__", fields)
    _set(message, "__pydantic_fields_set__", _FIELDS[kind])
    _set(message, "__pydantic_extra__", {})
    _set(message, "__pydantic_private__", None)
    return message
