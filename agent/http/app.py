"""SSE routes, the WebSocket and the page: what streams to a browser. Encodes, decides nothing.

The LangGraph server takes this app as its own (`http.app` in langgraph.json) and adds its API.
FastAPI, because it checks bodies and describes the routes in the server's OpenAPI document.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
from fastapi import Depends, Header, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from agent.access.gate import AccessMiddleware, error_form_of, refusal
from agent.access.ownership import user_of
from agent.access.quota import allow_message
from agent.access.store_namespaces import StoreNamespaces
from agent.access.text_length import TextLengthLimit
from agent.dev_server.folder import BeforeStart
from agent.http.as_user import AsUser
from agent.http.brief_messages import BriefMessages
from agent.http.description import DescribedApp, agent_stream, chat_stream, run_failures
from agent.http.lifespan import lifespan
from agent.http.plain_chat import answer_events, chat_error_events
from agent.http.protocols import openai_routes
from agent.http.readiness import Readiness
from agent.http.runs import Chat, error_body, error_events, start_events
from agent.http.schemas import (
    AnswerBody,
    ChatQuestion,
    ContinueRunBody,
    DecisionBody,
    IdempotencyKey,
    MessageBody,
    RegenerateBody,
    RunBody,
    RunRef,
    first_error,
)
from agent.http.skipped_parts import SkippedParts
from agent.http.socket_threads import SocketThreads
from agent.http.sse import EventStream
from agent.http.state_outlines import StateOutlines
from agent.http.stopped_runs import ReadsAfterStop
from agent.http.websocket import serve_conversation
from agent.prompt import EXAMPLES, INTRODUCTION, NAME
from agent.settings import settings
from agent.telemetry.streams import StreamTelemetry
from client import InvalidRequest, Run, SteadyError
from client.version import __version__

WEB = Path(__file__).parents[1] / "web"
LONGEST_EVENT_ID = 600
EventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=LONGEST_EVENT_ID)]
_STREAM = agent_stream()
_STATUS = {
    "invalid_request": 422,
    "unauthorized": 401,
    "not_found": 404,
    "conflict": 409,
    "unavailable": 503,
    "rate_limited": 429,
    "cannot_connect": 503,
    "connection_lost": 502,
    "stream_lost": 410,
    "run_lost": 410,
    "model_failed": 502,
    "timeout": 504,
}

app = DescribedApp(
    title="steadystream",
    version=__version__,
    lifespan=lifespan,
    docs_url=None,  # the server has its own, with these routes among the others
    redoc_url=None,
    openapi_url=None,
    middleware=[
        Middleware(
            CORSMiddleware,
            allow_origin_regex=".*",  # the gate decides, and a page can read its refusal
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=[
                *("X-Pagination-Total", "X-Pagination-Next", "Retry-After"),
                *("Location", "Content-Location"),  # where a client joins a run that was cut
            ],
        ),
        Middleware(BeforeStart),
        Middleware(AccessMiddleware),
        Middleware(StreamTelemetry),
        Middleware(SocketThreads),
        Middleware(ReadsAfterStop),
        Middleware(SkippedParts),
        Middleware(BriefMessages),
        Middleware(StoreNamespaces),
        Middleware(RequestBodyLimitMiddleware, max_body_size=settings().steady_largest_body_bytes),
        Middleware(TextLengthLimit),
        Middleware(StateOutlines),
    ],
)


class RunRequest:
    """A request for a run's events: a new run's, or those after an event that was read before."""

    def __init__(self, chat: Chat, last_event_id: str | None, idempotency_key: str | None) -> None:
        self._chat = chat
        self._last_event_id = last_event_id
        self._idempotency_key = idempotency_key

    async def start(self, body: RunBody) -> Response:
        """The run that the body asks for."""
        fields = {**body.model_dump(), "idempotency_key": self._idempotency_key}
        return await self._stream(self._chat.start(body.action, fields))

    async def join(self, ref: RunRef) -> Response:
        """A run that was started before."""
        return await self._stream(self._chat.join(ref))

    async def _stream(self, run: Run) -> Response:
        """Nothing is asked of the server before a run is read."""
        if self._last_event_id:
            run = self._chat.join_after(self._last_event_id)
        events = await start_events(run)
        return EventStream(events, lambda error: error_events(error, run), settings())


async def _run_request(
    chat: AsUser,
    last_event_id: EventId = None,
    idempotency_key: Annotated[IdempotencyKey, Header(alias="Idempotency-Key")] = None,
) -> RunRequest:
    return RunRequest(chat, last_event_id, idempotency_key)


AsRun = Annotated[RunRequest, Depends(_run_request)]


async def count_message(request: Request) -> None:
    """A message to the model alone is no run, and counts all the same."""
    await allow_message(user_of(request.scope))


@app.exception_handler(HTTPException)
async def _http_error(request: Request, error: HTTPException) -> Response:
    if isinstance(error.__cause__, UnicodeDecodeError):
        error = HTTPException(400, "The body is not valid JSON: it is not UTF-8.")
    return refusal(error, request.scope)


@app.exception_handler(httpx.HTTPStatusError)
async def _own_api_error(request: Request, error: httpx.HTTPStatusError) -> Response:
    """Passes on the answer of the server's own API to a route that asked it, such as MCP."""
    answer = error.response
    headers = {name: answer.headers[name] for name in ("retry-after",) if name in answer.headers}
    return Response(answer.content, answer.status_code, headers, "application/json")


@app.exception_handler(SteadyError)
async def _steady_error(request: Request, error: SteadyError) -> Response:
    headers, status = {}, _STATUS.get(error.code, 500)
    if error.retry_after_seconds:
        headers["Retry-After"] = f"{error.retry_after_seconds:.0f}"
    body = error_body(error)
    if (form := error_form_of(request.scope)) is not None:
        status, body = form(body["error"], status, error.code, getattr(error, "param", None))
    return JSONResponse(body, status, headers)


@app.exception_handler(RequestValidationError)
async def _validation_error(request: Request, error: RequestValidationError) -> Response:
    is_json = error.errors()[0]["type"] != "json_invalid"
    has_type = not isinstance(error.body, bytes)  # FastAPI parses it only if its type says so
    if not has_type:
        message = "The body is not sent as JSON: add the header `content-type: application/json`."
    else:
        message = first_error(list(error.errors())) if is_json else "The body is not valid JSON."
    status, body = 422 if is_json else 400, error_body(InvalidRequest(message))
    if (form := error_form_of(request.scope)) is not None:
        place, mark, _ = message.partition(": ")
        param = place if mark and has_type else None
        status, body = form(message, 400, "invalid_value", param)
    return JSONResponse(body, status)


@app.post("/chat/stream", tags=["Chat"], dependencies=[Depends(count_message)], **chat_stream())
async def stream_chat(question: ChatQuestion) -> Response:
    """Plain chat: `{"token": ...}` events, then `{"done": true}`, or `{"error", "code"}`."""
    config = settings()
    events = await answer_events(question, config.steady_chain_seconds)
    return EventStream(events, chat_error_events, config)


@app.post("/agent/stream", tags=["Agent"], **_STREAM)
async def stream_agent(body: MessageBody, request: AsRun) -> Response:
    """A run on a thread, as events. With `Last-Event-ID`, what follows that event instead."""
    return await request.start(body)


@app.get("/agent/stream/{thread_id}/{run_id}", tags=["Agent"], **_STREAM)
async def join_agent(ref: Annotated[RunRef, Depends()], request: AsRun) -> Response:
    """A run's events from its beginning, or after `Last-Event-ID`."""
    return await request.join(ref)


@app.post("/agent/stop", tags=["Agent"], status_code=202, responses=run_failures())
async def stop_agent(ref: RunRef, chat: AsUser) -> dict[str, str]:
    """Stops a run; its stream ends with status `stopped`."""
    await chat.stop(ref)
    return {"status": "stopping"}


@app.post("/agent/decide", tags=["Agent"], **_STREAM)
async def decide_agent(body: DecisionBody, request: AsRun) -> Response:
    """A person's decisions about an interrupt; the rest of the run follows as events."""
    return await request.start(body)


@app.post("/agent/resume", tags=["Agent"], **_STREAM)
async def resume_agent(body: AnswerBody, request: AsRun) -> Response:
    """The answers to whatever a run waits for; the rest of it follows as events."""
    return await request.start(body)


@app.post("/agent/regenerate", tags=["Agent"], **_STREAM)
async def regenerate_answer(body: RegenerateBody, request: AsRun) -> Response:
    """The thread's last question is answered anew; the old answer stays in its history."""
    return await request.start(body)


@app.post("/agent/continue_run", tags=["Agent"], **_STREAM)
async def continue_run(body: ContinueRunBody, request: AsRun) -> Response:
    """A run that its server left unfinished goes on from the thread's last checkpoint."""
    return await request.start(body)


@app.websocket("/ws/chat")
async def chat_socket(
    socket: WebSocket,
    chat: AsUser,
    thread_id: UUID | None = None,
    run_id: UUID | None = None,
    last_event_id: Annotated[str | None, Query(max_length=LONGEST_EVENT_ID)] = None,
) -> None:
    """Many turns on one connection; `agent.http.websocket_forms` says in which forms."""
    join = None
    if last_event_id:
        join = partial(chat.join_after, last_event_id)
    elif thread_id and run_id:
        join = partial(chat.join, RunRef(thread_id=thread_id, run_id=run_id))
    await serve_conversation(socket, chat, settings(), thread_id, join)


if settings().steady_openai_routes:
    app.router.routes.extend(openai_routes.router.routes)  # the server cannot take routers


_readiness = Readiness()


@app.get("/ready", tags=["Health"])
async def ready() -> JSONResponse:
    """Whether a balancer should send new work here: 200, or 503 and which checks fail."""
    failed = await _readiness.failed()
    return JSONResponse({"ready": not failed, "failed": failed}, 503 if failed else 200)


class PageFiles(StaticFiles):
    """A browser asks for each file each time, so that no page mixes two versions."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


_page_files = PageFiles(directory=WEB)


@app.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The chat page."""
    return await _page_files.get_response("index.html", request.scope)


@app.get("/page/about.json", include_in_schema=False)
async def about() -> dict[str, Any]:
    """How the page presents the agent: `agent/prompt.py` says it."""
    return {"name": NAME, "introduction": INTRODUCTION, "examples": EXAMPLES}


app.mount("/page", GZipMiddleware(_page_files), name="page")
