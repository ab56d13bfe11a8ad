"""`POST /chat/stream`: plain chat over server-sent events, on a real server and socket."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import Fault, ModelServer, Reply
from tests.sse_reader import ask, opened

CHAT = "/chat/stream"
TRICKY = 'A "quoted" line\n\nanother\r\n\ttab, \\ backslash, ünïcödé, 👩‍👩‍👧 and data: [DONE]'


@pytest.fixture(scope="module")
def strict(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server with short limits."""
    env = server_env(
        model.url,
        STEADY_CHAIN_SECONDS="4",
        STEADY_HEARTBEAT_SECONDS="0.2",
        STEADY_LARGEST_BODY_BYTES="20000",
        STEADY_MODEL_IDLE_SECONDS="3",
    )
    config = find_config(Path(__file__).parent)
    with LocalServer(config, env=env, folder=tmp_path_factory.mktemp("strict")) as running:
        yield running


@pytest.mark.usefixtures("quiet_model")
async def test_tokens_arrive_while_the_model_still_speaks(
    server: LocalServer, model: ModelServer
) -> None:
    """The first token is read before the model has said its last, then the rest, then done."""
    async with opened(server.url, CHAT, {"question": "stream 20 tokens at 2 per second"}) as chat:
        first = await anext(chat)
        assert model.open_streams == 1
        await anext(chat)
        await anext(chat)
        model.hurry()
        events = await chat.rest()
    assert first["token"].startswith("word0")  # a reader on a busy machine finds more of it there
    assert "".join(e["token"] for e in events[:-1]) == " ".join(f"word{n}" for n in range(20))
    assert len(events) > 3
    assert events[-1] == {"done": True}


async def test_the_head_forbids_buffering(server: LocalServer) -> None:
    """Caches and proxies are told to leave the stream alone."""
    async with opened(server.url, CHAT, {"question": "Hello?"}) as chat:
        head = chat.response.headers
    assert head["content-type"].startswith("text/event-stream")
    assert head["cache-control"] == "no-cache"
    assert head["x-accel-buffering"] == "no"


async def test_text_arrives_intact(server: LocalServer, model: ModelServer) -> None:
    """Newlines, quotes, emoji and text that looks like the protocol come through as they are."""
    model.on(TRICKY, Reply(tuple(TRICKY)))
    events = await ask(server.url, CHAT, {"question": TRICKY})
    assert "".join(e["token"] for e in events[:-1]) == TRICKY


async def test_an_answer_that_was_cut_says_so(server: LocalServer, model: ModelServer) -> None:
    """The last event names the model's reason where the answer is not whole."""
    model.on("Too long?", Reply("It goes on and", finish_reason="length"))
    events = await ask(server.url, CHAT, {"question": "Too long?"})
    assert events[-1] == {"done": True, "finish_reason": "length"}


async def test_history_reaches_the_model(server: LocalServer, model: ModelServer) -> None:
    """What was said before is sent along, in order."""
    history = [{"role": "user", "content": "I am Ada."}, {"role": "assistant", "content": "Hi!"}]
    await ask(server.url, CHAT, {"question": "Who am I?", "history": history})
    told = [(m["role"], m["content"]) for m in model.requests[-1]["messages"]]
    assert told[1:] == [("user", "I am Ada."), ("assistant", "Hi!"), ("user", "Who am I?")]


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "bad JSON": (b'{"question": ', 400, "not valid JSON"),
    "no UTF-8": (b'{"question": "\xff\xfe"}', 400, "not valid JSON"),
    "half of a surrogate pair": (b'{"question": "\\ud83d"}', 422, "question: "),
    "no JSON object": (b'"hello"', 422, "valid"),
    "no question": (b"{}", 422, "question: Field required"),
    "empty question": (b'{"question": " \\n"}', 422, "question: is empty"),
    "wrong type": (b'{"question": 7}', 422, "question: Input should be a valid string"),
    "unknown field": (b'{"question": "a", "stream": true}', 422, "stream: Extra inputs"),
    "unknown role": (
        b'{"question": "a", "history": [{"role": "system", "content": "b"}]}',
        422,
        "history.0.role: Input should be 'user' or 'assistant'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_bad_input_is_refused_before_the_stream(server: LocalServer, case: str) -> None:
    """A body that does not fit has an HTTP status and one line that says what to mend."""
    body, status, told = REFUSED[case]
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        answer = await http.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["code"] == "invalid_request"
    assert told in answer.json()["error"]


async def test_a_body_without_its_type_is_told(server: LocalServer) -> None:
    """JSON that is not sent as JSON, as `curl -d` does, is refused with the header to add."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
            answer = await http.post(CHAT, content=b'{"question": "a"}', headers=headers)
            assert answer.status_code == 422
            assert "content-type: application/json" in answer.json()["error"]
        answer = await http.post("/v1/responses", content=b'{"model": "agent"}')
        assert answer.json()["error"]["param"] is None


async def test_an_oversized_body_is_refused(strict: LocalServer) -> None:
    """More bytes than the limit are 413, with and without a declared length."""
    body = json.dumps({"question": "x" * 30_000}).encode()

    async def pieces() -> Any:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    async with httpx.AsyncClient(base_url=strict.url, timeout=60) as http:
        for content in (body, pieces()):
            answer = await http.post(CHAT, content=content)
            assert answer.status_code == 413


async def test_a_model_that_is_down_is_an_http_error(server: LocalServer) -> None:
    """A model that fails at once has a status of its own, and names what to look at."""
    async with opened(server.url, CHAT, {"question": "fail 401"}) as chat:
        assert chat.response.status_code == 502
        assert chat.response.json()["code"] == "model_failed"
        assert "OPENAI_API_KEY" in chat.response.json()["error"]


async def test_a_model_that_breaks_off_is_told_in_band(
    server: LocalServer, model: ModelServer
) -> None:
    """What arrived is delivered, then the error; the stream never just ends."""
    model.on("Break.", Reply(("a", "b", "c", "d"), fault=Fault("disconnect", after_tokens=3)))
    events = await ask(server.url, CHAT, {"question": "Break."})
    assert "".join(e.get("token", "") for e in events) == "abc"
    assert events[-1]["code"] == "model_failed"
    assert "broke off" in events[-1]["error"]


async def test_half_a_surrogate_pair_is_replaced(server: LocalServer, model: ModelServer) -> None:
    """Half of a surrogate pair, which nobody can write, is the replacement character."""
    model.on("Half.", Reply(("a " * 30, "\ud83d", "b"), tokens_per_second=10.0))
    events = await ask(server.url, CHAT, {"question": "Half."})
    assert "".join(event["token"] for event in events[:-1]) == "a " * 30 + "\ufffdb"
    assert events[-1] == {"done": True}


async def test_a_model_that_stalls_is_told_in_band(strict: LocalServer) -> None:
    """Silence past its limit ends the stream with an error that names the setting."""
    question = "stream 9 tokens then stall after 2"
    events = await ask(strict.url, CHAT, {"question": question})
    assert events[-1]["code"] == "model_failed"
    assert "STEADY_MODEL_IDLE_SECONDS" in events[-1]["error"]


@pytest.mark.usefixtures("quiet_model")
async def test_the_whole_answer_has_a_time_limit(strict: LocalServer, model: ModelServer) -> None:
    """An answer that takes too long ends with an error, and the model is left."""
    question = {"question": "stream 1000 tokens at 20 per second"}
    events = await ask(strict.url, CHAT, question)
    assert events[-1]["code"] == "timeout"
    assert "STEADY_CHAIN_SECONDS" in events[-1]["error"]
    await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 0)


async def test_an_idle_stream_has_heartbeats(strict: LocalServer, model: ModelServer) -> None:
    """While the model thinks, comments keep the connection alive; they are no events."""
    model.on("Think.", Reply("Done.", first_token_seconds=2.5))
    async with opened(strict.url, CHAT, {"question": "Think."}) as chat:
        lines = [line async for line in chat.response.aiter_lines()]
    assert sum(line.startswith(":") for line in lines) >= 1
    assert [line for line in lines if line.startswith("data")] == [
        'data: {"token":"Done."}',
        'data: {"done":true}',
    ]


async def test_a_reader_that_leaves_ends_the_models_answer(
    server: LocalServer, model: ModelServer
) -> None:
    """Nobody listens any more: the connection to the model is closed."""
    before = model.disconnects
    question = {"question": "stream 500 tokens at 20 per second"}
    async with opened(server.url, CHAT, question) as chat:
        await anext(chat)
    await asyncio.to_thread(model.wait_for, lambda m: m.disconnects == before + 1)


async def test_many_chats_do_not_mix(server: LocalServer) -> None:
    """Answers that are streamed at once each reach their own reader, whole."""
    asked = [{"question": f"stream {count} tokens"} for count in range(20, 40)]
    told = await asyncio.gather(*(ask(server.url, CHAT, body) for body in asked))
    assert [len("".join(e["token"] for e in es[:-1]).split()) for es in told] == [*range(20, 40)]
