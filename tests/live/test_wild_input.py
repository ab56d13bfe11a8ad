"""Input that nobody would send on purpose: generated requests, and a hundred thousand frames."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from websockets.asyncio.client import ClientConnection, connect

from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer
from tests.users import KNOWS_TOKENS, NO_LIMITS, bearer, socket_url, token_of

FRAMES = int(os.environ.get("STEADY_FUZZ_FRAMES", "5000"))
EXAMPLES = int(os.environ.get("STEADY_FUZZ_REQUESTS", "10"))
MOST_GROWTH_BYTES = 60_000_000
ANSWER_SECONDS = 60
TALKERS = 8
OURS = r"^/(chat|agent)/"
OURS_ARE = {
    *("/chat/stream", "/agent/stream", "/agent/stop", "/agent/decide", "/agent/regenerate"),
    "/agent/continue_run",
    "/agent/resume",
    "/agent/stream/{thread_id}/{run_id}",
}
STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")
ODD: list[Any] = [
    None,
    True,
    -1,
    1e308,
    2**70,
    "",
    " ",
    "\x00",
    [],
    {},
    [[]],
    {"": {}},
    "x" * 10_000,
]
CHECKS = [
    *(not_a_server_error, status_code_conformance),
    *(content_type_conformance, response_schema_conformance),
]
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def sturdy(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of these tests' own: its memory is looked at."""
    folder = tmp_path_factory.mktemp("sturdy")
    env = server_env(model.url, **KNOWS_TOKENS, **NO_LIMITS)
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_generated_requests(sturdy: LocalServer, mode: schemathesis.GenerationMode) -> None:
    """Whether it fits a route's description or does not, the answer fits, and is no failure."""
    headers = bearer(token_of("ada"))
    document = httpx.get(f"{sturdy.url}/openapi.json", headers=headers, timeout=60).json()
    schema = schemathesis.openapi.from_dict(document).include(path_regex=OURS)
    answered: Counter[tuple[str, int]] = Counter()
    for found in schema.get_all_operations():

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(found.ok().as_strategy(generation_mode=mode))
        def answers_well(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(
                base_url=sturdy.url,
                headers=headers,
                checks=CHECKS,
                timeout=60,
            )
            answered[case.path, answer.status_code] += 1

        answers_well()
    assert {path for path, _ in answered} == OURS_ARE


def _junk(rng: random.Random) -> str | bytes:
    """A frame: one that is understood, one spoilt, or none at all."""
    frames: list[JSON] = [
        {"type": "ping"},
        {"type": "stop"},
        {"type": "regenerate"},
        {"type": "continue_run"},
        {"type": "decide", "interrupt_id": "x", "decisions": [{"type": "approve"}]},
        {"type": "message", "message": "Hello.", "multitask_strategy": rng.choice(STRATEGIES)},
    ]
    weights = [40, 10, 2, 2, 2, 2]
    frame = rng.choices(frames, weights)[0]
    text = json.dumps(frame)
    match rng.randrange(8):
        case 0:
            return text[: rng.randrange(len(text))]
        case 1:
            return json.dumps({**frame, rng.choice(list(frame)): rng.choice(ODD)})
        case 2:
            return json.dumps(rng.choice(ODD))
        case 3:
            return rng.randbytes(rng.randrange(200))
        case 4:
            return "".join(chr(rng.randrange(32, 0xD7FF)) for _ in range(rng.randrange(100)))
        case 5 if rng.random() < 0.02:
            return "[" * rng.choice([1000, 100_000]) + "x" * rng.choice([0, 500_000])
    return text


@pytest.mark.timeout(max(900, FRAMES // 20))
async def test_any_frames(sturdy: LocalServer) -> None:
    """Broken, of wrong types, huge, binary: each connection answers on, and memory stays flat."""
    process = psutil.Process(sturdy.process.pid if sturdy.process else None)
    sent = await _fuzz(sturdy, seed=0, frames=FRAMES // 5)  # what is loaded once, and kept
    before = process.memory_info().rss
    sent += await _fuzz(sturdy, seed=1, frames=FRAMES)
    grown = process.memory_info().rss - before
    print(f"{sent} frames, {grown / 1e6:.1f} MB more")
    assert grown < MOST_GROWTH_BYTES
    log = sturdy.log.read_text()
    assert "agent/http/websocket.py" not in log, "a frame was more than the conversation could take"


async def _fuzz(server: LocalServer, *, seed: int, frames: int) -> int:
    each = [random.Random(f"{seed}/{number}") for number in range(TALKERS)]
    return sum(await asyncio.gather(*(_talk(server, rng, frames // TALKERS) for rng in each)))


async def _talk(server: LocalServer, rng: random.Random, frames: int) -> int:
    """Sends frames over as many connections as it takes; after each lot a ping is answered."""
    sent = 0
    headers = bearer(token_of(f"talker-{rng.random()}"))
    while sent < frames:
        protocols: Any = rng.choices([None, ["steady.v1"]], [1, 15])[0]  # plain: each is a message
        url = socket_url(server, "/ws/chat")
        options: Any = {"additional_headers": headers, "subprotocols": protocols}
        # Without a limit to what waits unread, a close is seen at once behind what came before.
        async with connect(url, max_queue=None, **options) as socket:
            for _ in range(rng.randint(1, 10)):
                lot = [_junk(rng) for _ in range(rng.randint(1, 100))]
                sent += len(lot)
                for frame in lot:
                    await socket.send(frame)
                await _still_answers(socket)
    return sent


async def _still_answers(socket: ClientConnection) -> None:
    """The connection says something within its time: a pong, or in the plain form an answer."""
    mark = '{"type":"pong"}' if socket.subprotocol else "[DONE]"
    await socket.send('{"type":"ping"}' if socket.subprotocol else "Hello.")
    async with asyncio.timeout(ANSWER_SECONDS):
        while await socket.recv() != mark:
            pass
