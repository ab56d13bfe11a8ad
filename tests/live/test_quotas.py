"""How much one user may ask for, and what whoever asks for more is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import RateLimitError, UnprocessableEntityError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from client import AgentClient, InvalidRequest, Limits, RateLimited, Token
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.prometheus import Scrape
from tests.users import KNOWS_TOKENS, METRICS_TOKEN, bearer, socket_url, token_of

SLOW = "Speak slowly, please."
LIMITS = {
    "STEADY_MESSAGES_PER_MINUTE": "6",
    "STEADY_RUNS_PER_USER": "2",
    "STEADY_STREAMS_PER_USER": "3",
    "STEADY_STREAMS": "5",
    "STEADY_LONGEST_MESSAGE_CHARACTERS": "1000",
    "STEADY_LARGEST_BODY_BYTES": "10000",
    "STEADY_MAX_STEPS": "7",
}


@pytest.fixture(scope="module")
def limited(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("limited")
    env = server_env(model.url, **KNOWS_TOKENS, **LIMITS)
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.fixture
async def user(limited: LocalServer, request: pytest.FixtureRequest) -> AsyncIterator[AgentClient]:
    """A user of the test's own, who has asked for nothing yet; the client waits for nothing."""
    limits = Limits(reconnect_seconds=0.1)
    token = token_of(request.node.name)
    async with AgentClient(limited.url, token=token, limits=limits) as client:
        yield client


def spoken(model: ModelServer) -> None:
    model.on(SLOW, Reply(tuple(f"word{n} " for n in range(400)), tokens_per_second=10.0))


def said(words: str) -> dict[str, Any]:
    """What a run is given, of one message."""
    return {"messages": [{"role": "user", "content": words}]}


async def test_messages_a_minute(user: AgentClient, request: pytest.FixtureRequest) -> None:
    """The seventh is refused, on each surface, with when to try again; another user's is not."""
    for _ in range(6):
        async with user.stream("Hello.") as run:
            await run.text()
    with pytest.raises(RateLimited) as refused:
        async with user.stream("Hello.") as run:
            await run.text()
    assert 0 < refused.value.retry_after_seconds <= 60
    headers = bearer(token_of(request.node.name))
    async with httpx.AsyncClient(base_url=user.url, headers=headers, timeout=60) as http:
        for path, body in {
            "/agent/stream": {"message": "Hello."},
            "/chat/stream": {"question": "Hello."},
            "/runs/wait": {"assistant_id": "agent", "input": {"messages": []}},
        }.items():
            answer = await http.post(path, json=body)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 60
            if path != "/runs/wait":
                assert answer.json()["code"] == "rate_limited"
                assert "Try again in" in answer.json()["error"]
    somebody_else = AgentClient(user.url, token=token_of("somebody else"))
    async with somebody_else as other, other.stream("Hello.") as run:
        assert await run.text()


async def test_limits_of_openai_routes(user: AgentClient, request: pytest.FixtureRequest) -> None:
    """The same limits, in the protocol's own errors; a picture's bytes are no long text."""
    picture = f"data:image/png;base64,{'A' * 4_000}"
    image = {"type": "image_url", "image_url": {"url": picture}}
    asked: dict[str, Any] = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": [image]}]},
        "/v1/responses": {"input": "Hello."},
    }
    long = {"/v1/chat/completions": said("x" * 2_000), "/v1/responses": {"input": "x" * 2_000}}
    headers = bearer(token_of(request.node.name))
    async with httpx.AsyncClient(base_url=user.url, headers=headers, timeout=60) as http:
        for path, body in long.items():
            answer = await http.post(path, json={"model": "agent", **body})
            assert answer.status_code == 400
            assert answer.json()["error"]["type"] == "invalid_request_error"
        for path in (*asked, *asked, *asked):
            answer = await http.post(path, json={"model": "agent", **asked[path]})
            assert answer.status_code == 200, answer.text
        for path, body in asked.items():
            answer = await http.post(path, json={"model": "agent", **body})
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 60
            assert answer.json()["error"]["code"] == "rate_limited"


async def test_messages_a_minute_on_a_socket(
    limited: LocalServer, request: pytest.FixtureRequest
) -> None:
    """On one connection the seventh turn ends at once with an error; the connection goes on."""
    headers = bearer(token_of(request.node.name))
    url = socket_url(limited, "/ws/chat")
    async with connect(
        url, additional_headers=headers, subprotocols=["steady.v1"], open_timeout=60
    ) as socket:  # type: ignore[list-item]
        ends = []
        for _ in range(7):
            await socket.send(json.dumps({"type": "message", "message": "Hello."}))
            while (event := json.loads(await socket.recv()))["type"] != "done":
                ends.append(event.get("code"))
        await socket.send(json.dumps({"type": "ping"}))
        assert json.loads(await socket.recv()) == {"type": "pong"}
    assert [code for code in ends if code] == ["rate_limited"]


async def test_runs_at_a_time(user: AgentClient, model: ModelServer) -> None:
    """While two go on a third is refused; when one has ended it is taken."""
    spoken(model)
    async with user.stream(SLOW) as one, user.stream(SLOW) as two:
        for run in (one, two):
            async for event in run:
                if isinstance(event, Token):
                    break
        with pytest.raises(RateLimited, match="2 runs"):
            async with user.stream("Hello.") as third:
                await third.text()
        for run in (one, two):
            await run.stop()
            async for _ in run:
                pass
    async with user.stream("Hello.") as run:
        assert await run.text()


async def test_runs_asked_for_at_once(user: AgentClient, model: ModelServer) -> None:
    """Of six asked for in the same instant two are taken."""
    spoken(model)
    asked = [user.sdk.runs.create(None, "agent", input=said(SLOW)) for _ in range(6)]
    made = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in made if isinstance(answer, RateLimitError)]
    assert len(refused) == 4
    assert all(int(error.response.headers["retry-after"]) > 0 for error in refused)
    await user.sdk.runs.cancel_many(status="all")


async def test_runs_in_one_batch(user: AgentClient, model: ModelServer) -> None:
    """A batch of more than may go on is refused, and no more of it goes on than may."""
    spoken(model)
    with pytest.raises(RateLimitError):
        await user.sdk.runs.create_batch(
            [{"assistant_id": "agent", "input": said(SLOW)} for _ in range(4)]
        )
    assert await user.sdk.threads.count(status="busy") == 2
    await user.sdk.runs.cancel_many(status="all")


async def test_runs_one_behind_the_other(user: AgentClient, model: ModelServer) -> None:
    """Those that wait for their turn on a thread count like the one that goes on."""
    spoken(model)
    thread_id = await user.threads.create()
    for _ in range(2):
        await user.sdk.runs.create(
            thread_id, "agent", input=said(SLOW), multitask_strategy="enqueue"
        )
    with pytest.raises(RateLimitError):
        await user.sdk.runs.create(
            thread_id, "agent", input=said(SLOW), multitask_strategy="enqueue"
        )
    await user.sdk.runs.cancel_many(status="all")


async def test_streams_at_a_time(limited: LocalServer, request: pytest.FixtureRequest) -> None:
    """One user has so many, the server so many; a stream that is closed makes room."""
    url = socket_url(limited, "/ws/chat")

    def opened(user: str) -> connect:
        return connect(url, additional_headers=bearer(token_of(user)), open_timeout=60)

    async with AsyncExitStack() as stack:
        for _ in range(3):
            last = await stack.enter_async_context(opened("ada"))
        with pytest.raises(InvalidStatus) as refused:
            await stack.enter_async_context(opened("ada"))
        assert refused.value.response.status_code == 429
        assert json.loads(refused.value.response.body or b"")["code"] == "rate_limited"
        assert int(refused.value.response.headers["retry-after"]) > 0
        for _ in range(2):
            await stack.enter_async_context(opened("eve"))
        with pytest.raises(InvalidStatus) as full:
            await stack.enter_async_context(opened("eve"))
        assert full.value.response.status_code == 503
        assert json.loads(full.value.response.body or b"")["code"] == "unavailable"
        await last.close()
        async with asyncio.timeout(60):
            while True:
                try:
                    await stack.enter_async_context(opened("ada"))
                    break
                except InvalidStatus:
                    await asyncio.sleep(0.01)


async def test_a_chat_routes_stream_is_one(
    user: AgentClient, model: ModelServer, request: pytest.FixtureRequest
) -> None:
    """The route reads the run as its user, and that reader counts for nothing of its own."""
    spoken(model)
    thread_id = await user.threads.create()
    run = await user.sdk.runs.create(thread_id, "agent", input=said(SLOW))
    path = f"/agent/stream/{thread_id}/{run['run_id']}"
    headers = bearer(token_of(request.node.name))
    async with (
        httpx.AsyncClient(base_url=user.url, headers=headers, timeout=60) as http,
        AsyncExitStack() as stack,
    ):
        for _ in range(3):
            answer = await stack.enter_async_context(http.stream("GET", path))
            assert answer.status_code == 200
        assert (await http.get(path)).status_code == 429
        assert "steady-own" not in json.dumps(run).lower()
    await user.sdk.runs.cancel_many(status="all")


async def test_large_frames(limited: LocalServer) -> None:
    """A frame that is larger than a body may be ends the connection, with the code that says so."""
    url, headers = socket_url(limited, "/ws/chat"), bearer(token_of("large frames"))
    for frame in ("x" * 10_001, b"x" * 10_001, "é" * 5_001):
        async with connect(url, additional_headers=headers, open_timeout=60) as socket:
            await socket.send(frame)
            with suppress(ConnectionClosed):
                while True:
                    await socket.recv()
        assert socket.close_code == 1009
        assert "10000 bytes" in str(socket.close_reason)


async def test_long_texts_that_are_kept(user: AgentClient) -> None:
    """Neither a thread's state nor the store takes a text that no message could have."""
    thread_id = await user.threads.create(metadata={"graph_id": "agent"})
    long, short = said("x" * 1_001), said("x" * 1_000)
    with pytest.raises(UnprocessableEntityError, match="1000 characters"):
        await user.sdk.threads.update_state(thread_id, long, as_node="model")
    steps: Any = [{"updates": [{"values": long, "as_node": "model"}]}]
    with pytest.raises(UnprocessableEntityError, match="1000 characters"):
        await user.sdk.threads.create(graph_id="agent", supersteps=steps)
    with pytest.raises(UnprocessableEntityError, match="1000 characters"):
        await user.sdk.store.put_item(["memories"], "long", {"text": "x" * 1_001})
    await user.sdk.threads.update_state(thread_id, short, as_node="model")
    assert len(await user.threads.messages(thread_id)) == 1


async def test_a_tool_of_mcp(user: AgentClient, request: pytest.FixtureRequest) -> None:
    """Called too often, or with too much, it is refused as a run is."""
    headers = bearer(token_of(request.node.name)) | {"Accept": "application/json"}
    async with httpx.AsyncClient(base_url=user.url, headers=headers, timeout=60) as http:
        for words, statuses in {"x" * 1_001: [422], "Hello.": [200] * 6 + [429]}.items():
            params = {"name": "agent", "arguments": said(words)}
            asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            answers = [await http.post("/mcp", json=asked) for _ in statuses]
            assert [answer.status_code for answer in answers] == statuses
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert "messages in a minute" in answers[-1].json()["detail"]


async def test_refusals_are_told_in_a_line(user: AgentClient, limited: LocalServer) -> None:
    """Of what is refused there is no traceback in the log: anybody could fill it with those."""
    before = len(limited.log.read_text())
    for config in ({"recursion_limit": -1}, *({},) * 7):
        with suppress(httpx.HTTPStatusError):
            await user.sdk.runs.wait(None, "agent", input=said("Hello."), config=config)  # type: ignore[arg-type]
    log = ""
    async with asyncio.timeout(60):
        while not (" 422 " in log and " 429 " in log):  # told when they have been answered
            await asyncio.sleep(0.01)
            log = limited.log.read_text()[before:]
    assert "Traceback" not in log


async def test_large_things(user: AgentClient, request: pytest.FixtureRequest) -> None:
    """A long message is 422, a large body 413, on the server's own routes and on ours."""
    headers = bearer(token_of(request.node.name))
    async with httpx.AsyncClient(base_url=user.url, headers=headers, timeout=60) as http:
        for size, status in {2_000: 422, 20_000: 413}.items():
            words = "x" * size
            said = {"messages": [{"role": "user", "content": words}]}
            for path, body in {
                "/agent/stream": {"message": words},
                "/chat/stream": {"question": words},
                "/runs/wait": {"assistant_id": "agent", "input": said},
            }.items():
                parts = _in_parts(json.dumps(body).encode())
                for answer in (
                    await http.post(path, json=body),
                    await http.post(path, content=parts),
                ):
                    assert answer.status_code == status
                    if path != "/runs/wait":
                        assert answer.json()["code"] == "invalid_request"
                        assert answer.json()["error"]
    with pytest.raises(InvalidRequest):
        async with user.stream("x" * 2_000) as run:
            await run.text()


async def _in_parts(body: bytes) -> AsyncIterator[bytes]:
    """Sent so, nobody is told how long it will be."""
    for at in range(0, len(body), 1000):
        yield body[at : at + 1000]


async def test_steps(user: AgentClient) -> None:
    """A run that asks for more steps than the server allows gets what it allows.

    So does one whose assistant brings a limit, unless that is lower.
    """
    thread_id = await user.threads.create()
    for asked in (None, 5, 7, 10_000):
        config = {"recursion_limit": asked} if asked else {}
        made = await user.sdk.runs.create(thread_id, "agent", input=said("Hi."), config=config)  # type: ignore[arg-type]
        assert made["kwargs"]["config"]["recursion_limit"] == min(asked or 7, 7)  # type: ignore[typeddict-item]
        await user.sdk.runs.join(thread_id, made["run_id"])
    for own in (5, 10_000):
        assistant = await user.sdk.assistants.create("agent", config={"recursion_limit": own})
        made = await user.sdk.runs.create(thread_id, assistant["assistant_id"], input=said("Hi."))
        assert made["kwargs"]["config"]["recursion_limit"] == min(own, 7)  # type: ignore[typeddict-item]
        await user.sdk.runs.join(thread_id, made["run_id"])


async def test_refusals_are_counted(user: AgentClient, limited: LocalServer) -> None:
    """Each message that is over the limit is in the metrics, under the limit's name."""

    async def ask_for_ever() -> None:
        while True:
            await user.stream("Again?").text()

    headers, labels = bearer(METRICS_TOKEN), {"steady_limit": "messages"}
    before = await Scrape.of(limited.url, headers)
    with pytest.raises(RateLimited):
        await ask_for_ever()
    after = await Scrape.of(limited.url, headers)
    name = "steady_quota_refusals_total"
    assert after.value(name, **labels) > before.value(name, **labels)
