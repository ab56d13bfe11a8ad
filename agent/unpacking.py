"""Reads a thread's messages from storage without checking them again: what made them has.

A turn on a long thread reads hundreds of messages, and pydantic's checks of them were most of it.
"""

from typing import Any

import ormsgpack
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import (
    EXT_DELTA_SNAPSHOT,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
    _msgpack_ext_hook,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot

_KNOWN: dict[tuple[str, str], type[BaseMessage]] = {
    (kind.__module__, kind.__name__): kind
    for kind in (HumanMessage, AIMessage, ToolMessage, SystemMessage)
}


def serializer() -> JsonPlusSerializer:
    """LangGraph's own, but for messages that were written with just the fields of today."""
    return JsonPlusSerializer(__unpack_ext_hook__=_unpack)


def _unpack(code: int, data: bytes) -> Any:
    if code == EXT_DELTA_SNAPSHOT:
        return _DeltaSnapshot(_unpacked(data))
    if code == EXT_PYDANTIC_V2:
        module, name, fields, *_ = _unpacked(data)
        kind = _KNOWN.get((module, name))
        if kind is not None and fields.keys() == kind.model_fields.keys():
            return kind.model_construct(**fields)
    return _msgpack_ext_hook(code, data)


def _unpacked(data: bytes) -> Any:
    return ormsgpack.unpackb(data, ext_hook=_unpack, option=ormsgpack.OPT_NON_STR_KEYS)
