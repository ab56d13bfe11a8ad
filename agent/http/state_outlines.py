"""A thread's states without what their reader does not need, where it says so.

The client, at the end of a run that it joined in the middle, only makes sure that it has all texts:
a header asks for a state's outline, and names the message to begin with. It knows the digest of
each text that it has read. The SDK asks for some fields of a history (`select`), which the servers
that we run on do not know.
"""

import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.access.text_length import read_body
from agent.http.schemas import JSON
from client import text_of

_STATE = re.compile(r"/threads/[0-9a-fA-F-]{36}/state(?:/[0-9a-fA-F-]{36})?")
_HISTORY = re.compile(r"/threads/[0-9a-fA-F-]{36}/history")
_OUTLINE_AFTER = "steady-outline-after"  # a header: the message's id, percent-encoded
_OF_STATE = ("next", "tasks", "interrupts")
_OF_MESSAGE = ("id", "type", "tool_calls")
_VALUE = "values."  # of the state: `values.messages` is a field to select, too


class StateOutlines:
    """An ASGI middleware: answers with an outline or with selected fields, if that is asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_of(scope, "GET", _STATE):
            first_id = Headers(scope=scope).get(_OUTLINE_AFTER)
            if first_id is not None:
                send = _changing(send, lambda state: outline_of(state, unquote(first_id)))
        elif _is_of(scope, "POST", _HISTORY):
            body, receive = await read_body(scope, receive)
            if select := _select_in(body):
                send = _changing(send, lambda states: [selected(each, select) for each in states])
        await self._app(scope, receive, send)


def _is_of(scope: Scope, method: str, path: re.Pattern[str]) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] == method
        and path.fullmatch(scope["path"]) is not None
    )


def _changing(send: Send, change: Callable[[Any], Any]) -> Send:
    """`send` of a response whose JSON is changed, if it is a success."""
    start: Message = {}
    pieces = list[bytes]()

    async def send_changed(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        pieces.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"".join(pieces)
        headers = MutableHeaders(raw=list(start["headers"]))
        if start["status"] == 200 and "content-encoding" not in headers:
            body = orjson.dumps(change(orjson.loads(body)))
            headers["content-length"] = str(len(body))
        await send({**start, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})

    return send_changed


def _select_in(body: bytes) -> list[str]:
    """The fields that the body of a request for a history selects; empty: it selects none."""
    try:
        select = orjson.loads(body).get("select")
    except (orjson.JSONDecodeError, AttributeError):
        return []  # the route says what it makes of it
    return select if isinstance(select, list) and all(isinstance(x, str) for x in select) else []


def selected(state: JSON, select: Iterable[str]) -> JSON:
    """The state with these of its fields alone, as the SDK's `select` names them."""
    fields = {name: state[name] for name in select if name in state}
    keys = [name.removeprefix(_VALUE) for name in select if name.startswith(_VALUE)]
    values = state.get("values")
    if keys and "values" not in fields and isinstance(values, dict):
        fields["values"] = {key: values[key] for key in keys if key in values}
    return fields


def outline_of(state: JSON, first_id: str) -> JSON:
    """The state with the messages from this one on, each with a digest in place of its text.

    All messages, where there is none with this id. A structured response is kept.
    """
    whole = state.get("values")
    if not isinstance(whole, dict):
        return state
    messages = [each for each in whole.get("messages") or () if isinstance(each, dict)]
    ids = [message.get("id") for message in messages]
    first = ids.index(first_id) if first_id in ids else 0
    values: JSON = {"messages": list(map(_outlined, messages[first:]))}
    return {
        **_chosen(state, _OF_STATE),
        "checkpoint": _chosen(state.get("checkpoint") or {}, ("checkpoint_id",)),
        "metadata": _chosen(state.get("metadata") or {}, ("run_id",)),
        "values": {**values, **_chosen(whole, ("structured_response",))},
        "is_outline": True,
    }


def _outlined(message: JSON) -> JSON:
    digest = zlib.crc32(text_of(message).encode())
    return {**_chosen(message, _OF_MESSAGE), "digest": digest}


def _chosen(fields: JSON, names: tuple[str, ...]) -> JSON:
    return {name: fields[name] for name in names if fields.get(name) is not None}
