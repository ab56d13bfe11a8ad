"""Every route of the server, asked by everybody, about their own and about others' things."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agent.http.app import app
from client.cli.local_server import LocalServer
from tests.users import bad_tokens, bearer, socket_url, token_of

JSON = dict[str, Any]
OWN, OTHER = "ada", "eve"
MARK = "a-word-that-only-ada-may-read"
PLACES = ("thread_id", "run_id", "assistant_id", "cron_id")
AGENT = "fe096781-5601-53d2-b2f6-0d3403f7e9ca"  # the server's own, by the graph's name
ASKED = {"messages": [{"role": "user", "content": MARK}]}
BODY_SECONDS = 3.0  # of a stream without end
HIDDEN = ("/deploy", "/internal")


@dataclass(frozen=True)
class Row:
    """How a route is asked, and what its owner gets; `of` is what it is about, None: nobody's."""

    of: str | None = None
    body: Callable[[JSON], Any] | None = None
    query: str = ""
    ok: int = 200
    unknown: int = 404  # what its owner gets where there is no such thing
    other: int = 404  # what another user gets
    headers: dict[str, str] = field(default_factory=dict)
    is_public: bool = False


def run_of(place: JSON) -> JSON:
    return {"assistant_id": "agent", "input": ASKED}


def call(method: str, **params: Any) -> Callable[[JSON], JSON]:
    return lambda place: {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def begin(place: JSON) -> JSON:
    return {"id": 1, "method": "run.start", "params": run_of(place)}


def said(place: JSON) -> JSON:
    message = {"role": "user", "parts": [{"kind": "text", "text": MARK}], "messageId": "1"}
    return call("message/send", message={**message, "contextId": place["thread_id"]})(place)


def in_place(*names: str, **more: Any) -> Callable[[JSON], JSON]:
    return lambda place: {**{name: place[name] for name in names}, **more}


def chat_of(place: JSON) -> JSON:
    return {"model": "agent", "messages": ASKED["messages"]}


def response_on(place: JSON) -> JSON:
    return {"model": "agent", "input": MARK, "conversation": place["thread_id"]}


CRON = {"assistant_id": "agent", "schedule": "0 0 1 1 *", "input": ASKED}
DECIDED = {"interrupt_id": "none", "decisions": [{"type": "approve"}]}
RPC = {"Accept": "application/json, text/event-stream"}
ON_THREAD = {"X-Thread-Id": "{thread_id}"}
EVENTS = {"channels": ["messages"]}
ITEM = {"namespace": ["memories"], "key": "one"}

# (method, path): as in the OpenAPI document; what it does not name comes after it.
ROUTES: dict[tuple[str, str], Row] = {
    ("POST", "/a2a/{assistant_id}"): Row("thread", said, headers=RPC),
    ("POST", "/agent/decide"): Row(
        "thread", in_place("thread_id", **DECIDED), ok=404
    ),  # nothing waits there
    ("POST", "/agent/resume"): Row("thread", in_place("thread_id", answers={"none": 1}), ok=404),
    ("POST", "/agent/regenerate"): Row("thread", in_place("thread_id")),
    ("POST", "/agent/continue_run"): Row(
        "thread", in_place("thread_id"), ok=422
    ),  # its run had ended
    ("POST", "/agent/stop"): Row("run", in_place("thread_id", "run_id"), ok=202),
    ("POST", "/agent/stream"): Row("thread", in_place("thread_id", message=MARK)),
    ("GET", "/agent/stream/{thread_id}/{run_id}"): Row("run"),
    ("POST", "/assistants"): Row(body=lambda place: {"graph_id": "agent"}),
    ("POST", "/assistants/count"): Row(body=in_place()),
    ("POST", "/assistants/search"): Row(body=in_place()),
    ("GET", "/assistants/{assistant_id}"): Row("assistant"),
    ("DELETE", "/assistants/{assistant_id}"): Row("assistant", ok=204),
    ("PATCH", "/assistants/{assistant_id}"): Row("assistant", lambda place: {"name": MARK}),
    ("GET", "/assistants/{assistant_id}/graph"): Row("assistant"),
    ("POST", "/assistants/{assistant_id}/latest"): Row("assistant", lambda place: {"version": 1}),
    ("GET", "/assistants/{assistant_id}/schemas"): Row("assistant"),
    ("GET", "/assistants/{assistant_id}/subgraphs"): Row("assistant"),
    ("GET", "/assistants/{assistant_id}/subgraphs/{namespace}"): Row("assistant"),
    ("POST", "/assistants/{assistant_id}/versions"): Row("assistant", in_place()),
    ("POST", "/chat/stream"): Row(body=lambda place: {"question": "Hello."}),
    ("GET", "/docs"): Row(),
    ("GET", "/info"): Row(),
    ("POST", "/mcp"): Row(body=call("tools/list"), headers=RPC),
    ("GET", "/mcp"): Row(ok=405),
    ("DELETE", "/mcp"): Row(ok=404),
    ("GET", "/metrics"): Row(ok=404),  # it is no user's
    ("GET", "/ok"): Row(is_public=True),
    ("GET", "/ready"): Row(is_public=True),
    ("POST", "/runs"): Row(body=run_of),
    ("POST", "/runs/batch"): Row(body=lambda place: [run_of(place)]),
    ("POST", "/runs/cancel"): Row(
        "run", lambda place: {"thread_id": place["thread_id"], "run_ids": [place["run_id"]]}, ok=404
    ),  # it has ended
    ("POST", "/runs/crons"): Row(body=lambda place: CRON),
    ("POST", "/runs/crons/count"): Row(body=in_place()),
    ("POST", "/runs/crons/search"): Row(body=in_place()),
    ("GET", "/runs/crons/{cron_id}"): Row("cron"),
    ("PATCH", "/runs/crons/{cron_id}"): Row("cron", lambda place: {"schedule": "0 0 2 2 *"}),
    ("DELETE", "/runs/crons/{cron_id}"): Row("cron", ok=204),
    ("POST", "/runs/stream"): Row(body=run_of),
    ("POST", "/runs/wait"): Row(body=run_of),
    ("PUT", "/store/items"): Row(body=lambda place: {**ITEM, "value": {"text": "x"}}, ok=204),
    ("DELETE", "/store/items"): Row(body=lambda place: ITEM, ok=204),
    ("GET", "/store/items"): Row("item", query="?namespace=memories&key={key}"),
    ("POST", "/store/items/search"): Row(body=lambda place: {"namespace_prefix": []}),
    ("POST", "/store/namespaces"): Row(body=in_place()),
    ("POST", "/threads"): Row(body=in_place()),
    ("POST", "/threads/count"): Row(body=in_place()),
    ("POST", "/threads/prune"): Row("thread", lambda place: {"thread_ids": [place["thread_id"]]}),
    ("POST", "/threads/search"): Row(body=in_place()),
    ("GET", "/threads/{thread_id}"): Row("thread"),
    ("DELETE", "/threads/{thread_id}"): Row("thread", ok=204),
    ("PATCH", "/threads/{thread_id}"): Row("thread", lambda place: {"metadata": {"a": 1}}),
    ("POST", "/threads/{thread_id}/commands"): Row("thread", begin, unknown=200),  # it is begun
    ("POST", "/threads/{thread_id}/copy"): Row("thread", unknown=409, other=409),
    ("GET", "/threads/{thread_id}/history"): Row("thread"),
    ("POST", "/threads/{thread_id}/history"): Row("thread", in_place()),
    ("GET", "/threads/{thread_id}/runs"): Row("thread"),
    ("POST", "/threads/{thread_id}/runs"): Row("thread", run_of),
    ("POST", "/threads/{thread_id}/runs/crons"): Row("thread", lambda place: CRON),
    ("POST", "/threads/{thread_id}/runs/stream"): Row("thread", run_of),
    ("POST", "/threads/{thread_id}/runs/wait"): Row("thread", run_of),
    ("GET", "/threads/{thread_id}/runs/{run_id}"): Row("run"),
    ("DELETE", "/threads/{thread_id}/runs/{run_id}"): Row("run", ok=204),
    ("POST", "/threads/{thread_id}/runs/{run_id}/cancel"): Row("run", ok=404),  # it has ended
    ("GET", "/threads/{thread_id}/runs/{run_id}/join"): Row("run"),
    ("GET", "/threads/{thread_id}/runs/{run_id}/stream"): Row("run"),
    ("GET", "/threads/{thread_id}/state"): Row("thread"),
    ("POST", "/threads/{thread_id}/state"): Row("thread", lambda place: {"values": None}),
    ("POST", "/threads/{thread_id}/state/checkpoint"): Row(
        "thread", lambda place: {"checkpoint": {"checkpoint_id": place["checkpoint_id"]}}
    ),
    ("GET", "/threads/{thread_id}/state/{checkpoint_id}"): Row("thread"),
    ("GET", "/threads/{thread_id}/storage"): Row("thread", ok=501, unknown=501, other=501),
    ("GET", "/threads/{thread_id}/stream"): Row("thread"),
    # a thread that is not there yet may be listened to; another's is heard as little
    ("POST", "/threads/{thread_id}/stream/events"): Row(
        "thread", lambda place: EVENTS, unknown=200, other=200
    ),
    ("GET", "/v1/models"): Row(),
    ("GET", "/v1/models/{model}"): Row("assistant"),
    ("POST", "/v1/chat/completions"): Row("thread", chat_of, headers=ON_THREAD),
    ("POST", "/v1/responses"): Row("thread", response_on),
    ("GET", "/v1/responses/{response_id}"): Row("run", query="?stream=true"),
    ("POST", "/v1/responses/{response_id}/cancel"): Row("run"),
    ("DELETE", "/v1/responses/{response_id}"): Row("run"),
    # not in the document
    ("GET", "/"): Row(is_public=True),
    ("GET", "/page/main.js"): Row(is_public=True),
    ("GET", "/page/about.json"): Row(is_public=True),
    ("GET", "/openapi.json"): Row(),
    ("GET", "/deploy"): Row(ok=404),
    ("POST", "/deploy"): Row(ok=404),
    ("POST", "/internal/truncate"): Row(ok=404),
    ("GET", "/a2a/{assistant_id}/.well-known/agent-card.json"): Row(),
    ("GET", "/.well-known/agent-card.json"): Row(query="?assistant_id={assistant_id}"),
    ("GET", "/ui/agent"): Row(ok=404),
    ("SOCKET", "/ws/chat"): Row(query="?thread_id={thread_id}"),
    ("SOCKET", "/threads/{thread_id}/stream/events"): Row("thread", unknown=200, other=200),
}


def unknown() -> JSON:
    """A place where nothing is."""
    names = (*PLACES, "key", "namespace", "checkpoint_id", "model")
    place = {name: str(uuid.uuid4()) for name in names}
    return {**place, "response_id": response_id(place)}


def response_id(place: JSON) -> str:
    """The run as OpenAI's protocol calls it."""
    return "resp_" + (place["thread_id"] + place["run_id"]).replace("-", "")


class Walker:
    """Asks as anybody; makes things of Ada's to be asked about."""

    def __init__(self, server: LocalServer, http: httpx.AsyncClient) -> None:
        self.server, self.http = server, http
        self.ada = bearer(token_of(OWN))

    async def make(self, of: str | None) -> JSON:
        """A thing of Ada's, and where it is."""
        place: JSON = {
            "namespace": "none",
            "assistant_id": AGENT,
            "checkpoint_id": "none",
            "key": "one",
        }
        place = {**unknown(), **place}
        thread = await self._made("/threads", {})
        place["thread_id"] = thread["thread_id"]
        ran = await self._made(f"/threads/{place['thread_id']}/runs", run_of(place))
        place["run_id"] = ran["run_id"]
        place["response_id"] = response_id(place)
        await self.ended(f"/threads/{place['thread_id']}/runs/{place['run_id']}")
        state = await self.http.get(f"/threads/{place['thread_id']}/state", headers=self.ada)
        place["checkpoint_id"] = state.json()["checkpoint"]["checkpoint_id"]
        if of == "assistant":
            body = {"graph_id": "agent", "name": MARK}
            made = await self._made("/assistants", body)
            place["assistant_id"] = place["model"] = made["assistant_id"]
        if of == "cron":
            place["cron_id"] = (await self._made("/runs/crons", CRON))["cron_id"]
        if of == "item":
            body = {**ITEM, "value": {"text": MARK}}
            answer = await self.http.put("/store/items", json=body, headers=self.ada)
            answer.raise_for_status()
        return place

    async def ended(self, run: str) -> None:
        """Returns when the run of this path has ended."""
        (await self.http.get(f"{run}/join", headers=self.ada)).raise_for_status()

    async def _made(self, path: str, body: JSON) -> JSON:
        answer = await self.http.post(path, json=body, headers=self.ada)
        answer.raise_for_status()
        return dict(answer.json())

    async def ask(
        self, route: tuple[str, str], row: Row, token: str, place: JSON
    ) -> tuple[int, bytes]:
        """The status, and what was read of the answer."""
        method, path = route
        path = (path + row.query).format(**place)
        own = {name: value.format(**place) for name, value in row.headers.items()}
        headers = {**bearer(token), **own}
        if method == "SOCKET":
            return await self._ask_socket(path, headers)
        body = {"json": row.body(place)} if row.body else {}
        read = b""
        async with self.http.stream(method, path, headers=headers, **body) as answer:
            with suppress(TimeoutError):
                async with asyncio.timeout(BODY_SECONDS):
                    async for data in answer.aiter_bytes():
                        read += data
                        if b"event: " in read and path.endswith("stream"):
                            break
        return _told(answer.status_code, read), read

    async def _ask_socket(self, path: str, headers: JSON) -> tuple[int, bytes]:
        try:
            async with connect(
                socket_url(self.server, path), additional_headers=headers, open_timeout=60
            ):
                return 200, b""
        except InvalidStatus as refused:
            return refused.response.status_code, refused.response.body or b""


def _told(status: int, read: bytes) -> int:
    """The status that an answer tells in band, where its own is 200."""
    starts = (b'{"jsonrpc"', b'{"type":"error"', b"event: error")
    is_missing = any(words in read for words in (b"not found", b"404", b"not_found"))
    is_error = status == 200 and read.startswith(starts) and b"error" in read
    return 404 if read == b"null" or (is_error and is_missing) else status


@pytest.fixture
async def walker(guarded: LocalServer) -> AsyncIterator[Walker]:
    async with httpx.AsyncClient(base_url=guarded.url, timeout=60) as http:
        yield Walker(guarded, http)


async def test_every_route_has_a_row(walker: Walker) -> None:
    """A route that is added without saying who may use it fails here."""
    document = (await walker.http.get("/openapi.json", headers=walker.ada)).json()
    served = {
        (method.upper(), path.rstrip("/"))
        for path, methods in document["paths"].items()
        for method in methods
    }
    for route in app.routes:  # those that the document leaves out
        path = route.path.rstrip("/") or "/"
        served |= {(method, path) for method in getattr(route, "methods", None) or ()}
        served |= {("SOCKET", path)} if isinstance(route, WebSocketRoute) else set()
    assert {each for each in served if each[0] not in ("HEAD", "OPTIONS")} <= set(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_who_gets_what(walker: Walker, route: tuple[str, str], table: list[str]) -> None:
    """Without a good token nothing; with one, what is one's own; what is another's is not found."""
    row = ROUTES[route]
    mine = await walker.make(row.of)
    got: dict[str, int] = {}
    for kind, token in bad_tokens(OWN).items():
        got[kind], read = await walker.ask(route, row, token, mine)
        assert MARK.encode() not in read
    got["another's"], read = await walker.ask(route, row, token_of(OTHER), mine)
    if row.of:
        assert MARK.encode() not in read
        got["unknown"], _ = await walker.ask(route, row, token_of(OWN), {**mine, **unknown()})
    got["own"], _ = await walker.ask(route, row, token_of(OWN), mine)
    table.append(_line(" ".join(route), got))
    nobody = row.ok if row.is_public else 404 if route[1].startswith(HIDDEN) else 401
    assert got == {
        **dict.fromkeys(bad_tokens(OWN), nobody),
        "another's": row.other if row.of else row.ok,
        **({"unknown": row.unknown} if row.of else {}),
        "own": row.ok,
    }


def _line(name: str, got: dict[str, int]) -> str:
    return f"{name:<58}" + "".join(f"{got.get(column, '-'):>15}" for column in COLUMNS)


COLUMNS = (*bad_tokens(OWN), "another's", "unknown", "own")


@pytest.fixture(scope="module")
def table(pytestconfig: pytest.Config) -> Iterator[list[str]]:
    """The outcomes, printed when all have been seen."""
    lines = [f"{'':<58}" + "".join(f"{column:>15}" for column in COLUMNS)]
    yield lines
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("", *lines, sep="\n")
