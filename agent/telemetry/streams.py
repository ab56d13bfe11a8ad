"""The streams that readers have open, how they end, and who comes back for the rest.

A cut stream and the one that resumes it are two requests, maybe of two processes. So each is
counted by itself: a stream is cut when its last part could not be sent, and a cut is healed when a
stream that was asked for with the last event's id has been sent to its end.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from opentelemetry.trace import Span, SpanKind, get_tracer
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.telemetry import metrics
from agent.telemetry.trace_context import callers_trace

END_CHECK = "steady-end-check"  # a header: the run has ended, and the reader makes sure of the rest
OWN_CALL = "steady.own_call"  # in a scope: the server asks itself, which is no reader's stream
_SURFACES = {"/chat/": "chat", "/agent/": "agent", "/ws/": "websocket", "/v1/": "openai"}
_FROM_START = ("", "-", "-1", "0", "0-0")
# In ids of the in-memory server (`MILLISECONDS-0`) and of `agent.scale` (`RUN_event_MICROSECONDS`).
_TIME_IN_ID = re.compile(r"(?:(?:^|/)|_event_)(\d{13})(?:-\d+|\d{3})(?:/|$)")
_IDS = re.compile(r"([0-9a-f-]{36})/(?:runs/)?([0-9a-f-]{36})", re.IGNORECASE)
_LEFT = (1000, 1001)  # close codes of a WebSocket's reader who is done
_LONGEST_BEHIND_SECONDS = 24 * 3600.0

_tracer = get_tracer(metrics.NAME)


class StreamTelemetry:
    """An ASGI middleware: counts streams, makes a span of each resume, joins the caller's trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope.get(OWN_CALL):
            await self._app(scope, receive, send)
            return
        stream = _Stream(scope)
        try:
            with callers_trace(Headers(scope=scope)), stream.span():
                await self._app(scope, stream.watch_received(receive), stream.watch_sent(send))
        finally:
            stream.end()


class _Stream:
    """One request; it is a stream once its response says so."""

    def __init__(self, scope: Scope) -> None:
        self._path: str = scope["path"]
        self._labels = {metrics.SURFACE: _surface(scope["path"])}
        self._last_event_id = _last_event_id(scope)
        self._is_open = self._is_whole = self._is_cut = False
        self._span: Span | None = None

    @contextmanager
    def span(self) -> Iterator[None]:
        """The span of a resume; of other streams there is none, but the run's own."""
        if not self._last_event_id:
            yield
            return
        with _tracer.start_as_current_span("resume", kind=SpanKind.SERVER) as span:
            self._span = span
            span.set_attribute(metrics.SURFACE, self._labels[metrics.SURFACE])
            if ids := _IDS.search(f"{self._path}/{self._last_event_id}"):
                span.set_attribute("gen_ai.conversation.id", ids[1])
                span.set_attribute("steady.run.id", ids[2])
            yield

    def watch_sent(self, send: Send) -> Send:
        """`send`, with an eye on how the response begins and ends."""

        async def send_and_note(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.body":
                await send(message)
                self._is_whole = self._is_whole or not message.get("more_body", False)
                return
            is_stream = kind == "http.response.start" and _is_event_stream(message)
            if is_stream or kind == "websocket.accept":
                self._open()
            await send(message)
            if kind == "websocket.close":
                self._is_whole = True

        return send_and_note

    def watch_received(self, receive: Receive) -> Receive:
        """`receive`, with an eye on how the reader leaves."""

        async def receive_and_note() -> Message:
            message = await receive()
            if message["type"] == "websocket.disconnect" and message.get("code") in _LEFT:
                self._is_whole = True
            elif message["type"].endswith(".disconnect") and not self._is_whole:
                self._is_cut = True  # what is sent from now on, nobody reads
            return message

        return receive_and_note

    def end(self) -> None:
        """The request has ended; one that was no stream is not counted."""
        if not self._is_open:
            return
        metrics.counts.open_streams[self._labels[metrics.SURFACE]] -= 1
        if self._is_cut or not self._is_whole:
            metrics.streams_cut.add(1, self._labels)
        elif self._last_event_id:
            metrics.cuts_healed.add(1, self._labels)

    def _open(self) -> None:
        self._is_open = True
        metrics.counts.open_streams[self._labels[metrics.SURFACE]] += 1
        if self._last_event_id:
            metrics.resumes.add(1, self._labels)
            if sent_at := _TIME_IN_ID.search(self._last_event_id):
                behind_seconds = _record_behind(int(sent_at[1]) / 1000)
                if self._span is not None:
                    self._span.set_attribute("steady.resume.behind_seconds", behind_seconds)


def _record_behind(last_event_at: float) -> float:
    """Notes how far behind a reader was that came back, and returns it in seconds.

    `last_event_at` is when its last event was written, in seconds since 1970.
    """
    behind_seconds = min(max(time.time() - last_event_at, 0.0), _LONGEST_BEHIND_SECONDS)
    metrics.resume_behind.record(behind_seconds)
    return behind_seconds


def _surface(path: str) -> str:
    return next((name for prefix, name in _SURFACES.items() if path.startswith(prefix)), "api")


def _last_event_id(scope: Scope) -> str:
    """The id of the event that the rest is asked for; empty where the whole is."""
    if scope["type"] == "http":
        headers = Headers(scope=scope)
        event_id = headers.get("last-event-id", "").strip() if END_CHECK not in headers else ""
    else:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        event_id = query.get("last_event_id", [""])[0]
    return "" if event_id in _FROM_START else event_id


def _is_event_stream(message: Message) -> bool:
    kind = Headers(raw=list(message["headers"])).get("content-type", "")
    return message["status"] == 200 and kind.startswith("text/event-stream")
