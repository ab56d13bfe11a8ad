"""A scripted OpenAI-compatible model server on a real loopback socket.

    with ModelServer() as model:
        model.on("What is 6 x 7?", Reply(tool_calls=[ToolCall("multiply", {"a": 6, "b": 7})]),
                 Reply("42."))

The question is the exact text of the last user message; the n-th reply answers the n-th model call
of that turn. `tests.model_script` says what unscripted questions do. For a server in a process of
its own: `python -m tests.model_server --port 8081 --tokens-per-second 500`.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from types import TracebackType
from typing import Any, Self

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests import model_script
from tests.model_playback import Pace, Playback, ReaderLeft
from tests.model_script import JSON, Fault, Reply, ToolCall, Usage, place
from tests.model_wire import (
    Event,
    chat_stream,
    chat_whole,
    error_body,
    response_stream,
    response_whole,
    token_count,
)

__all__ = ["Fault", "ModelServer", "RecordedRequest", "Reply", "ToolCall", "Usage"]


_RAW_BLOCKS_PER_SECOND = 1000  # so that each is an HTTP chunk of its own


class RecordedRequest(dict[str, Any]):
    """A request's JSON body, and its path, `Authorization` header and client's port."""

    def __init__(self, body: JSON, request: Request) -> None:
        super().__init__(body)
        self.path = request.url.path
        self.authorization = request.headers.get("authorization")
        self.client_port = request.client.port if request.client else 0


class ModelServer:
    """Serves from a thread of its own while the context is open.

    `port` 0 takes a free one. `api_key` and `models`, where given, are the only ones accepted.
    `tokens_per_second` (None: full speed) and `first_token_seconds` hold for replies that set none.
    `judge`, where it is set, looks at each request first: it may answer with a status and a body.
    """

    judge: Callable[[RecordedRequest], tuple[int, JSON] | None] | None = None

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str | None = None,
        models: Iterable[str] = (),
        tokens_per_second: float | None = None,
        first_token_seconds: float = 0.0,
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.disconnects = 0
        self.open_streams = 0
        self.tokens_per_second = tokens_per_second
        self.first_token_seconds = first_token_seconds
        self.api_key = api_key
        self.models = tuple(models)
        self._scripts: dict[str, tuple[Reply, ...]] = {}
        self._attempts: Counter[tuple[str, int]] = Counter()
        self._numbers = count(1)
        self._changed = threading.Condition()
        self._hurry = asyncio.Event()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/v1"
        app = Starlette(routes=self._routes(), lifespan=self._lifespan)
        config = uvicorn.Config(app, log_config=None, log_level="critical", access_log=False)
        self._server = uvicorn.Server(config)
        self._started = threading.Event()
        self._thread = threading.Thread(target=self.serve, name="model-server", daemon=True)

    def on(self, question: str, *replies: Reply) -> None:
        """Scripts the turn that `question` opens: one reply for each model call of the turn."""
        self._scripts[question] = replies

    def wait_for(
        self, condition: Callable[[ModelServer], bool], timeout_seconds: float = 60.0
    ) -> None:
        """Waits until `condition(self)` holds, asked again whenever the server's counters change.

        Raises TimeoutError. It blocks: in a coroutine, call it through `asyncio.to_thread`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout_seconds):
                raise TimeoutError(f"not so within {timeout_seconds} seconds: {condition}")

    def hurry(self, after_requests: int = -1) -> None:
        """All that is being said goes on at full speed: a slow answer has shown what it should.

        So a test need not guess how long it takes until it has looked. What is hurried may be still
        to come: the answer to a request after so many.
        """
        if after_requests >= 0:
            self.wait_for(lambda it: len(it.requests) > after_requests and it.open_streams > 0)
        hurried, self._hurry = self._hurry, asyncio.Event()
        self._loop.call_soon_threadsafe(hurried.set)

    def serve(self) -> None:
        """Serves in the calling thread until it is told to stop."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(timeout=10):
            raise TimeoutError("the model server did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    def _routes(self) -> list[Route]:
        return [
            Route("/v1/models", self._list_models),
            Route("/v1/chat/completions", self._answer, methods=["POST"]),
            Route("/v1/responses", self._answer, methods=["POST"]),
        ]

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        self._started.set()
        yield

    async def _list_models(self, request: Request) -> Response:
        if refusal := self._refuse(request.headers.get("authorization"), None):
            return refusal
        names = self.models or ("scripted",)
        data = [{"id": name, "object": "model", "owned_by": "tests"} for name in names]
        return JSONResponse({"object": "list", "data": data})

    async def _answer(self, request: Request) -> Response:
        body = RecordedRequest(await request.json(), request)
        with self._changed:
            self.requests.append(body)
            self._changed.notify_all()
        if refusal := self._refuse(body.authorization, body.get("model", "")):
            return refusal
        if self.judge is not None and (verdict := self.judge(body)):
            return JSONResponse(verdict[1], verdict[0])
        question, step = place(body.get("messages") or body.get("input") or "")
        replies = self._scripts.get(question)
        if replies is not None and step >= len(replies):
            return _error(400, f"The script of {question!r} has no reply number {step + 1}.")
        reply = replies[step] if replies else model_script.unscripted(question, step)
        fault = self._fault(reply, (question, step))
        if fault and fault.kind == "status":
            return _error(fault.status, headers=dict(fault.headers))
        return self._play(reply, body, fault)

    def _refuse(self, authorization: str | None, model: str | None) -> Response | None:
        if self.api_key is not None and authorization != f"Bearer {self.api_key}":
            return _error(401)
        if model is not None and self.models and model not in self.models:
            return _error(404, model=model)
        return None

    def _fault(self, reply: Reply, turn: tuple[str, int]) -> Fault | None:
        attempt = self._attempts[turn]
        self._attempts[turn] += 1
        return reply.fails[attempt] if attempt < len(reply.fails) else reply.fault

    def _play(self, reply: Reply, body: RecordedRequest, fault: Fault | None) -> Response:
        chat, number = body.path.endswith("/chat/completions"), next(self._numbers)
        rate = reply.tokens_per_second or self.tokens_per_second
        wait_seconds = reply.first_token_seconds
        wait_seconds = self.first_token_seconds if wait_seconds is None else wait_seconds
        if reply.raw is not None:
            blocks = [Event(block, True) for block in reply.raw]
            pace = Pace(wait_seconds, _RAW_BLOCKS_PER_SECOND)
            played = Playback(blocks, reply.raw_type, pace, fault, self._watch(), self._hurry)
            played.headers.update(reply.raw_headers)
            return played
        if body.get("stream"):
            events = (chat_stream if chat else response_stream)(reply, body, number)
            pace = Pace(wait_seconds, rate)
            return Playback(events, "text/event-stream", pace, fault, self._watch(), self._hurry)
        whole = orjson.dumps((chat_whole if chat else response_whole)(reply, body, number))
        pace = Pace(wait_seconds + (token_count(reply) / rate if rate else 0))
        return Playback(
            [Event(whole, True)], "application/json", pace, fault, self._watch(), self._hurry
        )

    @contextmanager
    def _watch(self) -> Iterator[None]:
        self._count(open_streams=1)
        try:
            yield
        except ReaderLeft:
            self._count(disconnects=1)
        finally:
            self._count(open_streams=-1)

    def _count(self, *, open_streams: int = 0, disconnects: int = 0) -> None:
        with self._changed:
            self.open_streams += open_streams
            self.disconnects += disconnects
            self._changed.notify_all()


def _error(
    status: int, message: str = "", *, model: str = "", headers: dict[str, str] | None = None
) -> Response:
    body = error_body(status, model)
    body["error"]["message"] = message or body["error"]["message"]
    return JSONResponse(body, status, headers)


def main() -> None:
    """Serves until interrupted; prints the base URL once the port is open."""
    parser = argparse.ArgumentParser(prog="python -m tests.model_server", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens-per-second", type=float)
    parser.add_argument("--first-token-seconds", type=float, default=0.0)
    parser.add_argument("--api-key")
    server = ModelServer(**vars(parser.parse_args()))
    print(server.url, flush=True)
    server.serve()


if __name__ == "__main__":
    main()
