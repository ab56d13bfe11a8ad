"""A thread's state without its texts, for a reader who only makes sure that it has them all.

The client asks for it at the end of a run that it joined in the middle, with a header that names
the message to begin with. It knows the digest of each text that it has read.
"""

import re
import zlib
from urllib.parse import unquote

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.http.schemas import JSON
from client import text_of

_STATE = re.compile(r"/threads/[0-9a-fA-F-]{36}/state")
_OUTLINE_AFTER = "steady-outline-after"  # a header: the message's id, percent-encoded
_OF_STATE = ("next", "tasks", "interrupts")
_OF_MESSAGE = ("id", "type", "tool_calls")


class StateOutlines:
    """An ASGI middleware: answers a request for a state with its outline, if that is asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first_id = _first_id(scope)
        if first_id is None:
            await self._app(scope, receive, send)
            return
        start: Message = {}
        pieces = list[bytes]()

        async def send_outline(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            pieces.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            body = b"".join(pieces)
            headers = MutableHeaders(raw=list(start["headers"]))
            if start["status"] == 200 and "content-encoding" not in headers:
                body = orjson.dumps(outline_of(orjson.loads(body), first_id))
                headers["content-length"] = str(len(body))
            await send({**start, "headers": headers.raw})
            await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, send_outline)


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


def _first_id(scope: Scope) -> str | None:
    """The id of the outline's first message, if the request asks for an outline."""
    if scope["type"] != "http" or scope["method"] != "GET" or not _STATE.fullmatch(scope["path"]):
        return None
    first_id = Headers(scope=scope).get(_OUTLINE_AFTER)
    return None if first_id is None else unquote(first_id)
