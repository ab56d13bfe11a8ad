"""The OpenAI-compatible HTTP server around the model."""

import asyncio
import hmac
import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.embedded.engine import EngineError
from agent.embedded.turn import Model
from agent.embedded.weights import MODEL
from agent.embedded.wire import Answer, BadRequest, ChatRequest, Finished, Part, error_body, parse

_T = TypeVar("_T")
Handler = Callable[[Request], Awaitable[Response]]


def application(model: Model, key: str) -> Starlette:
    """The routes; every request must carry `key` as its bearer token."""
    routes = [
        Route("/health", _health),
        Route("/v1/models", _models),
        Route("/v1/warm", _guarded(_warm), methods=["POST"]),
        Route("/v1/chat/completions", _guarded(_completions), methods=["POST"]),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(_BearerKey, key=key)])
    app.state.model = model
    return app


class _BearerKey:
    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._expected = f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._knows(dict(scope["headers"])):
            refusal = error_body(
                "missing or wrong API key", "invalid_api_key", "authentication_error"
            )
            await JSONResponse(refusal, 401)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, headers: dict[bytes, bytes]) -> bool:
        return hmac.compare_digest(headers.get(b"authorization", b""), self._expected)


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except BadRequest as error:
            return JSONResponse(error_body(str(error), error.code), error.status)
        except EngineError as error:
            return JSONResponse(error_body(str(error), "engine_error", "server_error"), 500)
        except _ReaderGone:
            return Response(status_code=499)

    return guarded


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _models(_: Request) -> Response:
    entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "steadystream"}
    return JSONResponse({"object": "list", "data": [entry]})


async def _warm(request: Request) -> Response:
    chat = parse(await request.body())
    await _model(request).warm(chat.messages, [tool.function for tool in chat.tools or []])
    return JSONResponse({"status": "warm"})


async def _completions(request: Request) -> Response:
    chat = parse(await request.body())
    if chat.model not in (None, MODEL):
        told = f"here is only {MODEL}: for another model, set OPENAI_API_KEY or OPENAI_BASE_URL"
        raise BadRequest(told, "model_not_found", 404)
    parts = _model(request).answer(chat)
    answer = Answer(f"chatcmpl-{secrets.token_hex(12)}", MODEL)
    if not chat.stream:
        return JSONResponse(answer.whole(await _unless_gone(request, _all(parts))))
    # What is wrong with a request shows before its first part: only then is the 200 sent.
    first = await _unless_gone(request, _next(parts))
    events = _events(chat, answer, first, parts)
    return _EventStream(events)


async def _all(parts: AsyncGenerator[Part]) -> list[Part]:
    async with aclosing(parts):
        return [part async for part in parts]


async def _next(parts: AsyncGenerator[Part]) -> Part:
    return await anext(parts)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, which ends with a _ReaderGone when the reader disconnects."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _ReaderGone
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.wait([task, gone])


class _EventStream(StreamingResponse):
    """Closes its events as soon as it ends: a reader who left would leave them to the collector."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str]) -> None:
        super().__init__(events)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


class _ReaderGone(Exception):
    """Nobody reads the answer any more."""


def _model(request: Request) -> Model:
    model: Model = request.app.state.model
    return model


async def _events(
    chat: ChatRequest, answer: Answer, first: Part, rest: AsyncGenerator[Part]
) -> AsyncGenerator[str]:
    async with aclosing(rest):
        yield _event(answer.opening())
        try:
            async with aclosing(_chunks(chat, answer, first, rest)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except EngineError as error:
            yield _event(error_body(str(error), "engine_error", "server_error"))
    yield "data: [DONE]\n\n"


async def _chunks(
    chat: ChatRequest, answer: Answer, first: Part, rest: AsyncGenerator[Part]
) -> AsyncGenerator[str]:
    part = first
    yield _event(answer.chunk(part))
    async for part in rest:
        yield _event(answer.chunk(part))
    if isinstance(part, Finished) and chat.stream_options and chat.stream_options.include_usage:
        yield _event(answer.usage_chunk(part.usage))


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
