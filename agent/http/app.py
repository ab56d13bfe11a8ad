"""SSE routes, the WebSocket and the page: what streams to a browser. Encodes, decides nothing.

The LangGraph server takes this app as its own (`http.app` in langgraph.json) and adds its API.
FastAPI, because it checks bodies and describes the routes in the server's OpenAPI document.
"""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import Depends, FastAPI, Header, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection

from agent.access.gate import Door, own_header, refusal
from agent.access.ownership import token_of, user_of
from agent.access.quota import allow_message
from agent.access.text_length import Lengths
from agent.http.lifespan import lifespan
from agent.http.plain_chat import answered
from agent.http.runs import Chat, ChatError, begun
from agent.http.schemas import (
    AgentMessage,
    ChatQuestion,
    Decision,
    OnThread,
    RunPlace,
    first_fault,
)
from agent.http.sse import EventStream
from agent.http.websocket import converse
from agent.settings import settings

WEB = Path(__file__).parents[1] / "web"
EventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=300)]
_STREAM: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {"text/event-stream": {}}}},
}
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=8, max_length=200)]

app = FastAPI(
    title="steadystream",
    lifespan=lifespan,
    docs_url=None,  # the server has its own, with these routes among the others
    redoc_url=None,
    openapi_url=None,
    middleware=[
        Middleware(
            CORSMiddleware,
            allow_origins=sorted(settings().allowed_origins),
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["X-Pagination-Total", "X-Pagination-Next", "Content-Location"],
        ),
        Middleware(Door),
        Middleware(RequestBodyLimitMiddleware, max_body_size=settings().steady_largest_body_bytes),
        Middleware(Lengths),
    ],
)


class _ToItself(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers.update(own_header())
        return await super().handle_async_request(request)


_transport = _ToItself(limits=httpx.Limits(max_connections=None))


def chat_of(connection: HTTPConnection) -> Chat:
    """The chat of whoever asks: this server over loopback, with the token that came along."""
    config = settings()
    host, port = connection.scope["server"]
    own_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    user, token = user_of(connection.scope), token_of(connection.headers)
    return Chat(config.steady_server_url or own_url, user, token, config, _transport)


async def counted(request: Request) -> None:
    """A message to the model alone is no run, and counts all the same."""
    await allow_message(user_of(request.scope))


AsUser = Annotated[Chat, Depends(chat_of)]


@app.exception_handler(HTTPException)
async def _not_taken(request: Request, error: HTTPException) -> Response:
    return refusal(error, request.scope)


@app.exception_handler(httpx.HTTPStatusError)
async def _not_taken_by_itself(request: Request, error: httpx.HTTPStatusError) -> Response:
    """A route that asks the server itself, such as MCP, passes on what it was told."""
    told = error.response
    headers = {name: told.headers[name] for name in ("retry-after",) if name in told.headers}
    return Response(told.content, told.status_code, headers, "application/json")


@app.exception_handler(ChatError)
async def _refused(request: Request, error: ChatError) -> Response:
    headers = {}
    if error.retry_after_seconds:
        headers["Retry-After"] = f"{error.retry_after_seconds:.0f}"
    return JSONResponse(error.body, error.status, headers)


@app.exception_handler(RequestValidationError)
async def _invalid(request: Request, error: RequestValidationError) -> Response:
    is_json = error.errors()[0]["type"] != "json_invalid"
    told = first_fault(list(error.errors())) if is_json else "The body is not valid JSON."
    return JSONResponse({"error": told, "code": "invalid_request"}, 422 if is_json else 400)


@app.post("/chat/stream", tags=["Chat"], dependencies=[Depends(counted)], **_STREAM)
async def stream_chat(question: ChatQuestion) -> Response:
    """Plain chat: `{"token": ...}` events, then `{"done": true}`, or `{"error", "code"}`."""
    config = settings()
    return EventStream(await answered(question, config.steady_chain_seconds), config)


@app.post("/agent/stream", tags=["Agent"], **_STREAM)
async def stream_agent(
    message: AgentMessage, chat: AsUser, last_event_id: EventId = None, key: Key = None
) -> Response:
    """A run on a thread, as events. With `Last-Event-ID` it goes on after that event instead."""
    run = chat.go_on(last_event_id) if last_event_id else chat.start(message, key)
    return EventStream(await begun(run), settings())


@app.get("/agent/stream/{thread_id}/{run_id}", tags=["Agent"], **_STREAM)
async def join_agent(
    place: Annotated[RunPlace, Depends()], chat: AsUser, last_event_id: EventId = None
) -> Response:
    """A run's events from its beginning, or after `Last-Event-ID`."""
    run = chat.go_on(last_event_id) if last_event_id else chat.join(place)
    return EventStream(await begun(run), settings())


@app.post("/agent/stop", tags=["Agent"], status_code=202)
async def stop_agent(place: RunPlace, chat: AsUser) -> dict[str, str]:
    """Stops a run; its stream ends with status `stopped`."""
    await chat.stop(place)
    return {"status": "stopping"}


@app.post("/agent/decide", tags=["Agent"], **_STREAM)
async def decide_agent(
    decision: Decision, chat: AsUser, last_event_id: EventId = None, key: Key = None
) -> Response:
    """A person's decisions about an interrupt; the rest of the run follows as events."""
    run = chat.go_on(last_event_id) if last_event_id else chat.decide(decision, key)
    return EventStream(await begun(run), settings())


@app.post("/agent/regenerate", tags=["Agent"], **_STREAM)
async def regenerate_answer(
    asked: OnThread, chat: AsUser, last_event_id: EventId = None, key: Key = None
) -> Response:
    """The thread's last question is answered anew; the old answer stays in its history."""
    run = chat.go_on(last_event_id) if last_event_id else chat.regenerate(asked, key)
    return EventStream(await begun(run), settings())


@app.post("/agent/resume", tags=["Agent"], **_STREAM)
async def resume_run(
    asked: OnThread, chat: AsUser, last_event_id: EventId = None, key: Key = None
) -> Response:
    """A run that its server left unfinished goes on from the thread's last checkpoint."""
    run = chat.go_on(last_event_id) if last_event_id else chat.resume(asked, key)
    return EventStream(await begun(run), settings())


@app.websocket("/ws/chat")
async def chat_socket(
    socket: WebSocket,
    chat: AsUser,
    thread_id: UUID | None = None,
    last_event_id: Annotated[str | None, Query(max_length=300)] = None,
) -> None:
    """Many turns on one connection; `agent.http.websocket` says in which forms."""
    await converse(socket, chat, settings(), thread_id, last_event_id)


class PageFiles(StaticFiles):
    """Asked for anew each time, so that no page is of two versions; sent where it has changed."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


_files = PageFiles(directory=WEB)


@app.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The chat page."""
    return await _files.get_response("index.html", request.scope)


app.mount("/page", _files, name="page")
