"""Token frames between the model's client and a real socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from agent.model.dialects import UnusableAnswer
from agent.model.frames import FrameTransport
from agent.model.transport import MergingTransport
from tests.model_server import Fault, ModelServer, Reply

LONG_SECONDS = 1.0  # an interval in which all that a test scripts arrives


@pytest.fixture(name="scripted")
def a_model_of_its_own() -> Iterator[ModelServer]:
    with ModelServer() as model:
        yield model


def framed(frame_seconds: float | None = None, **options: Any) -> httpx2.AsyncClient:
    inner = MergingTransport()
    return httpx2.AsyncClient(transport=FrameTransport(inner, frame_seconds), **options)


@asynccontextmanager
async def asked(
    client: httpx2.AsyncClient, model: ModelServer, question: str
) -> AsyncIterator[httpx2.Response]:
    body = {"stream": True, "messages": [{"role": "user", "content": question}]}
    reading = client.stream("POST", f"{model.url}/chat/completions", json=body)
    async with client, asyncio.timeout(60), reading as response:
        yield response


def text_in(wire: bytes) -> str:
    lines = [line[6:] for line in wire.splitlines() if line.startswith(b"data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@asynccontextmanager
async def answering(head: str, body: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers every request with these bytes; yields its URL and what it was sent."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        if b"content-length" in requests[0].lower():
            await reader.read(10_000)
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\nconnection: close\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


BODY = {"stream": True, "messages": [{"role": "user", "content": "Hi"}]}
END = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
EVENTS = b"".join(
    b'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n'
    % number
    for number in range(50)
)


async def test_first_text_goes_out_at_once(scripted: ModelServer) -> None:
    """The first text waits for no interval, and not for the model to say more."""
    scripted.on("Hi", Reply("one two", fault=Fault("stall", after_tokens=1)))
    wire = b""
    async with asked(framed(LONG_SECONDS), scripted, "Hi") as response:
        async for data in response.aiter_raw():
            wire += data
            if text_in(wire) == "one":
                break


async def test_one_frame_an_interval(scripted: ModelServer) -> None:
    """Text that comes faster than frames is joined to at most one frame an interval."""
    started, frames = time.monotonic(), list[str]()
    async with asked(framed(0.04), scripted, "stream 300 tokens at 1000 per second") as response:
        async for data in response.aiter_raw():
            frames += [text] if (text := text_in(data)) else []
    elapsed_seconds = time.monotonic() - started
    assert "".join(frames).split() == [f"word{n}" for n in range(300)]
    assert 1 < len(frames) <= elapsed_seconds / 0.04 + 2


async def test_silence_does_not_hold_text_back(scripted: ModelServer) -> None:
    """Text that waits for its frame goes out in time although the model falls silent."""
    stall = Fault("stall", after_tokens=3)
    scripted.on("Hi", Reply("one two three four", tokens_per_second=50, fault=stall))
    wire = b""
    async with asked(framed(0.04), scripted, "Hi") as response:
        async for data in response.aiter_raw():
            wire += data
            if text_in(wire) == "one two three":
                break


@pytest.mark.parametrize(
    ("kind", "error"),
    [("disconnect", httpx2.RemoteProtocolError), ("stall", httpx2.ReadTimeout)],
)
async def test_what_came_before_an_error_is_delivered_first(
    scripted: ModelServer, kind: Any, error: type[Exception]
) -> None:
    """Text that waited when the connection failed is delivered before the error is raised."""
    fault = Fault(kind, after_tokens=5)
    scripted.on("Hi", Reply("1 2 3 4 5 6", tokens_per_second=100, fault=fault))
    wire = b""

    async def read() -> None:
        nonlocal wire
        client = framed(LONG_SECONDS, timeout=httpx2.Timeout(5, read=2.0))
        async with asked(client, scripted, "Hi") as response:
            async for data in response.aiter_raw():
                wire += data

    with pytest.raises(error):
        await read()
    assert text_in(wire) == "1 2 3 4 5"


async def test_clean_end_of_half_an_answer(scripted: ModelServer) -> None:
    """A response that ends early and cleanly is a failure, behind all of its text."""
    scripted.on("Hi", Reply("1 2 3 4", tokens_per_second=100, fault=Fault("end", after_tokens=3)))
    wire = b""

    async def read() -> None:
        nonlocal wire
        async with asked(framed(LONG_SECONDS), scripted, "Hi") as response:
            async for data in response.aiter_raw():
                wire += data

    with pytest.raises(UnusableAnswer, match="broke off"):
        await read()
    assert text_in(wire) == "1 2 3"
    assert b"[DONE]" not in wire


@pytest.mark.parametrize("cancels", [0, 1, 2, 3])
async def test_reader_that_leaves_closes_upstream(scripted: ModelServer, cancels: int) -> None:
    """A reader that closes, or is cancelled however often, ends the model's stream and its task."""
    before, first = asyncio.all_tasks(), asyncio.Event()

    async def read(client: httpx2.AsyncClient) -> None:
        body = {"stream": True, "messages": [{"role": "user", "content": "Hi"}]}
        url = f"{scripted.url}/chat/completions"
        async with client.stream("POST", url, json=body) as response:
            async for data in response.aiter_raw():
                first.set()
                if text_in(data) and not cancels:
                    return

    scripted.on("Hi", Reply("one two", fault=Fault("stall", after_tokens=1)))
    async with asyncio.timeout(60), framed() as client:
        reader = asyncio.create_task(read(client))
        await first.wait()
        for _ in range(cancels):
            reader.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([reader])
        await asyncio.to_thread(scripted.wait_for, lambda model: model.disconnects == 1)
    assert reader.cancelled() == bool(cancels)
    assert asyncio.all_tasks() <= before


async def test_connection_is_used_again(scripted: ModelServer) -> None:
    """A framed stream read to its end gives its connection back."""
    body = {"stream": True, "messages": [{"role": "user", "content": "stream 5 tokens"}]}
    async with framed() as client:
        for _ in range(3):
            await client.post(f"{scripted.url}/chat/completions", json=body)
    assert len(scripted.requests) == 3
    assert len({request.client_port for request in scripted.requests}) == 1


async def test_slow_reader_stops_the_model() -> None:
    """The model is read from when the reader takes the next frame, and not before."""
    sent = 0

    class Endless(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += len(EVENTS)
                yield EVENTS

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Endless())

    client = httpx2.AsyncClient(transport=FrameTransport(httpx2.MockTransport(answer)))
    url = "http://model/chat/completions"
    async with client, client.stream("POST", url, json=BODY) as response:
        reading = response.aiter_raw()
        for taken in (1, 2, 3):
            assert text_in(await anext(reading)).startswith("012345")
            for _ in range(10):
                await asyncio.sleep(0)
            assert sent == taken * len(EVENTS)


async def test_zero_leaves_each_event_alone() -> None:
    """With an interval of 0 the answer is made regular, and nothing is merged."""
    head = "content-type: text/event-stream"
    async with answering(head, EVENTS + END) as (url, _), framed(0) as client:
        response = await client.post(f"{url}/chat/completions", json=BODY)
    assert text_in(response.content) == text_in(EVENTS)
    assert response.content.count(b'"content":"') > EVENTS.count(b'"content":"') - 1
    assert response.content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("body", [None, {"stream": False}])
async def test_other_responses_are_left_alone(body: Any) -> None:
    """What is no answer to a request for a stream passes with its headers."""
    head = f"content-type: application/json\r\ncontent-length: {len(EVENTS)}"
    async with answering(head, EVENTS) as (url, _), framed() as client:
        path = "/chat/completions" if body else "/models"
        response = await client.request("POST" if body else "GET", url + path, json=body)
    assert response.content == EVENTS
    assert response.headers["content-length"] == str(len(EVENTS))


async def test_compressed_streams_are_read() -> None:
    """Plain events are asked for; a server that compresses them all the same is understood."""
    head = "content-type: text/event-stream\r\ncontent-encoding: gzip"
    body = gzip.compress(EVENTS + END)
    async with answering(head, body) as (url, requests), framed() as client:
        response = await client.post(f"{url}/chat/completions", json=BODY)
    assert text_in(response.content) == text_in(EVENTS)
    assert b"accept-encoding: identity" in requests[0].lower()


async def test_length_of_a_framed_stream_is_not_promised() -> None:
    """A framed stream loses its content-length and keeps its other headers."""
    size = len(EVENTS + END)
    head = f"content-type: text/event-stream\r\nx-id: 7\r\ncontent-length: {size}"
    async with answering(head, EVENTS + END) as (url, _), framed() as client:
        response = await client.post(f"{url}/chat/completions", json=BODY)
    assert text_in(response.content) == text_in(EVENTS)
    assert len(response.content) < size
    assert "content-length" not in response.headers
    assert response.headers["x-id"] == "7"
