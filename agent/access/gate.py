"""Authentication before anything is served: an ASGI middleware around every route.

A server that knows no tokens serves this machine alone: nothing that comes from elsewhere, through
a proxy, or from another site's page in this machine's browser.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.access.origins import (
    is_allowed_origin,
    is_loopback,
    log_refused_page,
    origin_error,
)
from agent.access.ownership import PUBLIC, authenticated_user, set_user, token_of
from agent.access.quota import Streams, is_shutting_down
from agent.access.tokens import Unauthorized, tokens
from agent.settings import settings
from agent.telemetry.streams import OWN_CALL

HOW_TO_OPEN = (
    "This server knows no tokens, and so serves its own machine only. To serve others, set "
    "STEADY_JWT_SECRET, STEADY_JWT_KEYS_FILE or STEADY_API_KEYS_FILE, and start it again."
)
_FORWARDED = (
    *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via"),
    *("x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"),
)
_OWN_HEADER, _OWN_KEY = "steady-own", secrets.token_hex(16)
_MESSAGE_TOO_BIG = 1009  # a close code of RFC 6455
_FRAME_BYTES = 1000  # what reading the smallest frame is worth
_CHAT = ("/agent/", "/chat/", "/ws/")
_CODES = {  # the client's
    400: "invalid_request",
    401: "unauthorized",
    403: "unauthorized",
    404: "not_found",
    413: "invalid_request",
    422: "invalid_request",
    429: "rate_limited",
    503: "unavailable",
}
# (message, status, code, param) -> status, body: of protocols that have a form of their own.
ErrorForm = Callable[[str, int, str, str | None], tuple[int, dict[str, Any]]]
error_forms: dict[str, ErrorForm] = {}  # by the beginning of the path
_ANSWERS = ("/agent/", "/v1/chat/", "/v1/responses")  # paths that stream, but those that end so:
_NO_STREAM = ("/stop", "/cancel")
# In a path: what is answered for as long as a run goes on.
_HELD_OPEN = {"stream", "join", "wait", "a2a"}
_DEVELOPER_ONLY = ("/deploy", "/internal")  # what `langgraph dev` adds for its developer
_PUBLIC = ("/", "/ok", "/ready")
_PAGE_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("script", "style", "connect")),
        "img-src 'self' blob: data:",  # a person's own attachments
        *(f"{kind} 'none'" for kind in ("base-uri", "form-action", "frame-ancestors")),
        "require-trusted-types-for 'script'",  # no text becomes HTML, and
        "trusted-types 'none'",  # nothing may change that
    ]
)


class AccessMiddleware:
    """Serves a request as its user, or refuses it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._streams = Streams()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_own_call = scope.get("root_path", "").startswith("/noauth")  # in process, never a socket
        if scope["type"] not in ("http", "websocket") or is_own_call:
            scope[OWN_CALL] = is_own_call
            await self._app(scope, receive, send)
            return
        send = _with_headers(scope, send)
        is_counted = scope[OWN_CALL] = _take_own_key(scope)
        if scope["type"] == "websocket":
            receive = _with_frame_limit(receive, send)
        try:
            with ExitStack() as stack:
                user = _allowed_user(scope)
                if _is_stream(scope) and not is_counted:
                    stack.enter_context(self._streams.open_for(user))
                set_user(scope, user)
                await self._app(scope, receive, send)
        except HTTPException as error:
            await refusal(error, scope)(scope, receive, send)
        except ExceptionGroup as group:  # the server's own middleware packs a 413 of ours in one
            cause: BaseException = group
            while isinstance(cause, ExceptionGroup):
                cause = cause.exceptions[0]
            if not isinstance(cause, HTTPException):
                raise
            await refusal(cause, scope)(scope, receive, send)


def refusal(error: HTTPException, scope: Scope) -> JSONResponse:
    """The refusal in the LangGraph server's form; chat routes also get `error` and `code`."""
    if (form := error_form_of(scope)) is not None:
        code = _CODES.get(error.status_code, "error")
        status, fields = form(error.detail, error.status_code, code, None)
        return JSONResponse(fields, status, error.headers)
    body = {"detail": error.detail}
    if scope["path"].startswith(_CHAT):
        body |= {"error": error.detail, "code": _CODES.get(error.status_code, "error")}
    return JSONResponse(body, error.status_code, error.headers)


def error_form_of(scope: Scope) -> ErrorForm | None:
    """The form of errors for a path of a protocol that has its own."""
    path: str = scope["path"]
    return next((form for start, form in error_forms.items() if path.startswith(start)), None)


def _allowed_user(scope: Scope) -> str:
    """The user whose request it is. Raises HTTPException where it is not to be served."""
    headers = Headers(scope=scope)
    origin = headers.get("origin")
    if not scope["path"].isprintable():
        scope["path"] = ascii(scope["path"])[1:-1]  # the server logs it as it stands here
        raise HTTPException(400, "The path has control characters.")
    if not tokens().are_configured and not _is_local(scope, headers):
        raise _forbidden(HOW_TO_OPEN, origin)
    if origin is not None and not is_allowed_origin(origin, headers.get("host", "")):
        raise _forbidden(origin_error(origin), origin)
    if origin is None and _is_for_another_site(scope, headers):
        raise HTTPException(403, "Another site's page may not ask: see STEADY_ALLOWED_ORIGINS.")
    limit_bytes = settings().steady_largest_body_bytes
    if int(headers.get("content-length", "0")) > limit_bytes:
        raise HTTPException(413, f"The body has more than {limit_bytes} bytes.")
    if _is_public(scope) or _reads_metrics(scope, headers):
        return PUBLIC
    if tokens().are_configured and scope["path"].startswith(_DEVELOPER_ONLY):
        raise HTTPException(404, "Not Found")
    try:
        user = authenticated_user(scope)
    except Unauthorized as error:
        raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from None
    if tokens().are_configured and _is_of_metrics(scope):
        raise HTTPException(404, "Metrics are read with the token of STEADY_METRICS_TOKEN.")
    return user


def _is_for_another_site(scope: Scope, headers: Headers) -> bool:
    """A browser sends no origin with what a page loads or links to, but says how far it came.

    Links to the page itself may stand anywhere.
    """
    is_far = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    return is_far and scope["path"] != "/"


def _forbidden(reason: str, origin: str | None) -> HTTPException:
    if origin is not None:
        log_refused_page(origin, reason)
    return HTTPException(403, reason)


def _is_local(scope: Scope, headers: Headers) -> bool:
    """From a program of this machine that asked for this machine; not handed on by a proxy."""
    client: Any = scope.get("client")
    host = _parts(f"//{headers.get('host', '')}").hostname or ""
    is_direct = not any(name in headers for name in _FORWARDED)
    return bool(client) and is_direct and is_loopback(client[0]) and is_loopback(host)


def _parts(url: str) -> SplitResult:
    """The parts of a URL; empty ones where it cannot be parsed."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _is_public(scope: Scope) -> bool:
    is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return is_read and (scope["path"] in _PUBLIC or scope["path"].startswith("/page/"))


def _reads_metrics(scope: Scope, headers: Headers) -> bool:
    """Whether it is Prometheus, which is no user: the metrics are about all of them."""
    token = settings().steady_metrics_token
    if token is None or not _is_of_metrics(scope):
        return False
    return hmac.compare_digest(token_of(headers).encode(), token.get_secret_value().encode())


def _is_of_metrics(scope: Scope) -> bool:
    return str(scope["path"]).rstrip("/") == "/metrics"


def _is_stream(scope: Scope) -> bool:
    path: str = scope["path"]
    return (
        scope["type"] == "websocket"
        or not _HELD_OPEN.isdisjoint(path.split("/"))
        or (path.startswith(_ANSWERS) and not path.endswith(_NO_STREAM))
    )


def own_header() -> dict[str, str]:
    """Marks what this process asks of itself for a stream that has been counted already."""
    return {_OWN_HEADER: _OWN_KEY}


def _take_own_key(scope: Scope) -> bool:
    """Whether the request is this process's own; the key is taken off, and nobody else sees it."""
    headers = MutableHeaders(scope=scope)
    key = headers.get(_OWN_HEADER, "")
    del headers[_OWN_HEADER]
    return hmac.compare_digest(key.encode(), _OWN_KEY.encode())


def _with_frame_limit(receive: Receive, send: Send) -> Receive:
    """Limits frames to the size of a body, and what is read of them in a second.

    A larger frame ends the connection. After a body's size at once, the rest is read as fast as
    `STEADY_WEBSOCKET_BYTES_PER_SECOND` says; a frame counts as `_FRAME_BYTES`, at least.
    """
    limit_bytes, rate = (
        settings().steady_largest_body_bytes,
        settings().steady_websocket_bytes_per_second,
    )
    full_at = asyncio.get_running_loop().time()  # when a body's size may be read at once again

    async def receive_with_limit() -> Message:
        nonlocal full_at
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, full_at - now - limit_bytes / rate))
        message = await receive()
        text, data = message.get("text") or "", message.get("bytes") or b""
        size_bytes = max(len(text.encode()), len(data))
        full_at = max(full_at, now) + max(size_bytes, _FRAME_BYTES) / rate
        if size_bytes <= limit_bytes:
            return message
        reason = f"The frame has more than {limit_bytes} bytes."
        await send({"type": "websocket.close", "code": _MESSAGE_TOO_BIG, "reason": reason})
        return {"type": "websocket.disconnect", "code": _MESSAGE_TOO_BIG, "reason": reason}

    return receive_with_limit


def _with_headers(scope: Scope, send: Send) -> Send:
    is_page = scope["path"] == "/" or scope["path"].startswith("/page/")

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["X-Frame-Options"] = "DENY"
            if is_page:
                headers["Content-Security-Policy"] = _PAGE_POLICY
            if is_shutting_down.is_set():
                headers["Connection"] = "close"  # the next request may be another process's
        await send(message)

    return send_with_headers
