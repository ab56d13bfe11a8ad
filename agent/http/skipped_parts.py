"""A run's stream without the parts that its reader has, where ids alone do not tell them apart.

The in-memory server gives all parts of one millisecond the same id, so the client asks from before
the last id that it has read, and names how many parts of that id it has: `Wire.join` of the client.
"""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_STREAM = re.compile(r"/threads/[0-9a-fA-F-]{36}/runs/[0-9a-fA-F-]{36}/stream")
_SKIP, _SKIPPED = "steady-skip", "steady-skipped"  # headers: of the request, of the response
_COUNT_AND_ID = re.compile(r"(\d{1,9})/(.+)")
END_OF_PART = re.compile(rb"\r?\n\r?\n")
_COUNTED = re.compile(rb"^event: ?(?:metadata|messages|custom)(?:\||\r?$)", re.MULTILINE)


class SkippedParts:
    """An ASGI middleware: leaves out the first parts of a stream, if they are those to skip.

    Where anything else comes among them, all of it is sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _asked(scope)
        await self._app(scope, receive, _Skipping(*found, send) if found else send)


class _Skipping:
    """`send`, which holds a response back until it is known whether parts are left out."""

    def __init__(self, count: int, event_id: str, send: Send) -> None:
        self._count = count
        self._is_of_id = re.compile(rb"^id: ?%b\r?$" % re.escape(event_id.encode()), re.MULTILINE)
        self._send = send
        self._start: Message | None = None
        self._held = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_event_stream(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._held += message.get("body", b"")
            is_last = not message.get("more_body", False)
            if (skipped := self._skipped()) is not None or is_last:
                await self._begin(self._start, skipped or 0, is_last)

    def _skipped(self) -> int | None:
        """How many bytes are left out; None while that is not known."""
        at = 0
        for _ in range(self._count):
            end = END_OF_PART.search(self._held, at)
            if end is None:
                return None
            part = self._held[at : end.start()]
            if not (self._is_of_id.search(part) and _COUNTED.search(part)):
                return 0
            at = end.end()
        return at

    async def _begin(self, start: Message, skipped_bytes: int, is_last: bool) -> None:
        self._start = None
        headers = MutableHeaders(raw=list(start["headers"]))
        if skipped_bytes:
            headers[_SKIPPED] = str(self._count)
        await self._send({**start, "headers": headers.raw})
        body, self._held = self._held[skipped_bytes:], b""
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})


def _asked(scope: Scope) -> tuple[int, str] | None:
    """How many parts of which id are to be left out, if the request asks for it."""
    if scope["type"] != "http" or scope["method"] != "GET" or not _STREAM.fullmatch(scope["path"]):
        return None
    found = _COUNT_AND_ID.fullmatch(Headers(scope=scope).get(_SKIP, ""))
    return (int(found[1]), found[2]) if found and int(found[1]) else None


def _is_event_stream(message: Message) -> bool:
    kind = Headers(raw=list(message["headers"])).get("content-type", "")
    return message["status"] == 200 and kind.startswith("text/event-stream")
