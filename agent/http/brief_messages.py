"""A run's messages without what their reader does not use: the client asks for it by a header.

The servers repeat more than a kilobyte with each piece of a message: all of the run's metadata, and
the fields that are empty.
"""

import re
from contextvars import ContextVar
from typing import Any

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.dev_server.run_ends import ask_for_end
from agent.http.schemas import JSON
from agent.http.skipped_parts import END_OF_PART
from agent.telemetry.streams import OWN_CALL

_STREAM = re.compile(r"/threads/[0-9a-fA-F-]{36}/runs(?:/[0-9a-fA-F-]{36})?/stream")
_BRIEF, _END_STATE = "steady-brief", "steady-end-state"  # headers of the request
_TELLS_END = "steady-tells-end"  # of the response
_MESSAGE = re.compile(
    rb"^(event: ?messages(?:\|.*)?\r?\n(?:id:.*\n)?data: ?)([^\r\n]*)", re.MULTILINE
)
_METADATA = ("langgraph_node", "langgraph_checkpoint_ns", "lc_source", "lc_internal_call")


class Asked:
    """That a reader asked for brief messages; where the server writes them so, it says so here."""

    is_written = False


asked: ContextVar[Asked | None] = ContextVar("asked", default=None)  # of the request


def brief_fields(message: JSON) -> JSON:
    """A message without the fields that are empty."""
    return {name: value for name, value in message.items() if value}


def brief_metadata(metadata: JSON) -> JSON:
    """What the client reads of a message's metadata."""
    return {name: metadata[name] for name in _METADATA if name in metadata}


class BriefMessages:
    """An ASGI middleware: of each part in `messages-tuple` mode sends what the client reads.

    Its head says whether a part `end` is the last of the stream, with the thread's state if that is
    asked for. To this server itself, where bytes
    cost less than to leave some out, all of a part is sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_stream = scope["type"] == "http" and _STREAM.fullmatch(scope["path"])
        headers = Headers(scope=scope) if is_stream else ()
        if _BRIEF in headers:
            if not scope.get(OWN_CALL):
                asked.set(asks := Asked())
                send = _briefly(send, asks)
            tells_end = ask_for_end(with_state=_END_STATE in headers)
            send = _telling(send) if tells_end else send
        await self._app(scope, receive, send)


def _telling(send: Send) -> Send:
    async def send_and_tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message["headers"])[_TELLS_END] = "1"
        await send(message)

    return send_and_tell


def _briefly(send: Send, asks: Asked) -> Send:
    held = b""  # a part's beginning

    async def send_brief(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.body" and not asks.is_written:
            body = held + message.get("body", b"")
            is_last = not message.get("more_body", False)
            end = len(body) if is_last else _end_of_parts(body)
            held = body[end:]
            if not end and not is_last:
                return
            message = {**message, "body": _MESSAGE.sub(_brief, body[:end])}
        await send(message)

    return send_brief


def _end_of_parts(body: bytes) -> int:
    """Where the last whole part ends; 0 if none does."""
    if body.endswith((b"\n\n", b"\r\n\r\n")):
        return len(body)
    return max((match.end() for match in END_OF_PART.finditer(body)), default=0)


def _brief(part: re.Match[bytes]) -> bytes:
    try:
        message, metadata = orjson.loads(part[2])
        brief: list[Any] = [brief_fields(message), brief_metadata(metadata)]
    except (ValueError, TypeError, AttributeError):
        return part[0]
    return part[1] + orjson.dumps(brief)
