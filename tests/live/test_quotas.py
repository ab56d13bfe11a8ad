"""How much one user may ask for, and what whoever asks for more is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from client import AgentClient, Limits, RejectedInput, Token, TooMany
from client.local import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.users import KNOWS_TOKENS, bearer, socket_url, token_of

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
    model.on(SLOW, Reply(tuple(f"word{n} " for n in range(400)), tokens_per_second=40.0))


async def test_messages_a_minute(user: AgentClient, request: pytest.FixtureRequest) -> None:
    """The seventh is refused, on each surface, with when to try again; another user's is not."""
    for _ in range(6):
        async with user.stream("Hello.") as run:
            await run.text()
    with pytest.raises(TooMany) as refused:
        async with user.stream("Hello.") as run:
            await run.text()
    assert 0 < refused.value.retry_after_seconds <= 60
    headers = bearer(token_of(request.node.name))
    async with httpx.AsyncClient(base_url=user.url, headers=headers) as http:
        for path, body in {
            "/agent/stream": {"message": "Hello."},
            "/chat/stream": {"question": "Hello."},
            "/runs/wait": {"assistant_id": "agent", "input": {"messages": []}},
        }.items():
            answer = await http.post(path, json=body)
            assert answer.status_code == 429
            assert 0 < int(answer.headers["retry-after"]) <= 60
            if path != "/runs/wait":
                assert answer.json()["code"] == "too_many"
                assert "Try again in" in answer.json()["error"]
    somebody_else = AgentClient(user.url, token=token_of("somebody else"))
    async with somebody_else as other, other.stream("Hello.") as run:
        assert await run.text()


async def test_messages_a_minute_on_a_socket(
    limited: LocalServer, request: pytest.FixtureRequest
) -> None:
    """On one connection the seventh turn ends at once with an error; the connection goes on."""
    headers = bearer(token_of(request.node.name))
    url = socket_url(limited, "/ws/chat")
    async with connect(url, additional_headers=headers, subprotocols=["steady.v1"]) as socket:  # type: ignore[list-item]
        ends = []
        for _ in range(7):
            await socket.send(json.dumps({"type": "message", "content": "Hello."}))
            while (event := json.loads(await socket.recv()))["type"] != "done":
                ends.append(event.get("code"))
        await socket.send(json.dumps({"type": "ping"}))
        assert json.loads(await socket.recv()) == {"type": "pong"}
    assert [code for code in ends if code] == ["too_many"]


async def test_runs_at_a_time(user: AgentClient, model: ModelServer) -> None:
    """While two go on a third is refused; when one has ended it is taken."""
    spoken(model)
    async with user.stream(SLOW) as one, user.stream(SLOW) as two:
        for run in (one, two):
            async for event in run:
                if isinstance(event, Token):
                    break
        with pytest.raises(TooMany, match="2 runs"):
            async with user.stream("Hello.") as third:
                await third.text()
        for run in (one, two):
            await run.stop()
            async for _ in run:
                pass
    async with user.stream("Hello.") as run:
        assert await run.text()


async def test_streams_at_a_time(limited: LocalServer, request: pytest.FixtureRequest) -> None:
    """One user has so many, the server so many; a stream that is closed makes room."""
    url = socket_url(limited, "/ws/chat")

    def opened(user: str) -> connect:
        return connect(url, additional_headers=bearer(token_of(user)))

    async with AsyncExitStack() as stack:
        for _ in range(3):
            last = await stack.enter_async_context(opened("ada"))
        with pytest.raises(InvalidStatus) as refused:
            await stack.enter_async_context(opened("ada"))
        assert refused.value.response.status_code == 429
        assert json.loads(refused.value.response.body or b"")["code"] == "too_many"
        assert int(refused.value.response.headers["retry-after"]) > 0
        for _ in range(2):
            await stack.enter_async_context(opened("eve"))
        with pytest.raises(InvalidStatus) as full:
            await stack.enter_async_context(opened("eve"))
        assert full.value.response.status_code == 503
        assert json.loads(full.value.response.body or b"")["code"] == "refused"
        await last.close()
        async with asyncio.timeout(5):
            while True:
                try:
                    await stack.enter_async_context(opened("ada"))
                    break
                except InvalidStatus:
                    await asyncio.sleep(0.01)


async def test_large_things(user: AgentClient, request: pytest.FixtureRequest) -> None:
    """A long message is 422, a large body 413, on the server's own routes and on ours."""
    headers = bearer(token_of(request.node.name))
    async with httpx.AsyncClient(base_url=user.url, headers=headers) as http:
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
                        assert answer.json()["code"] == "rejected_input"
                        assert answer.json()["error"]
    with pytest.raises(RejectedInput):
        async with user.stream("x" * 2_000) as run:
            await run.text()


async def _in_parts(body: bytes) -> AsyncIterator[bytes]:
    """Sent so, nobody is told how long it will be."""
    for at in range(0, len(body), 1000):
        yield body[at : at + 1000]


async def test_steps(user: AgentClient) -> None:
    """A run that asks for more steps than the server allows gets what it allows."""
    thread_id = await user.threads.create()
    said = {"messages": [{"role": "user", "content": "Hello."}]}
    for asked in (None, 5, 7, 10_000):
        config = {"recursion_limit": asked} if asked else {}
        made = await user.sdk.runs.create(thread_id, "agent", input=said, config=config)  # type: ignore[arg-type]
        assert made["kwargs"]["config"]["recursion_limit"] == min(asked or 7, 7)  # type: ignore[typeddict-item]
        await user.sdk.runs.join(thread_id, made["run_id"])
