"""The model's time limits, on real connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from agent.model.time_limits import FIRST_TOKEN_HEADER, FirstTokenTimeout, TimeLimitTransport
from agent.model.transport import MergingTransport

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ROLE = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
TOKEN = b'data: {"choices": [{"delta": {"content": "word"}}]}\n\n'
COMMENT = b": PROCESSING\n\n"
Step = bytes | float


@asynccontextmanager
async def endpoint(*steps: Step) -> AsyncIterator[str]:
    """Answers each request with these bytes, waiting the seconds among them, then with nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for step in steps:
            if isinstance(step, bytes):
                is_head = step.startswith(b"HTTP/")
                writer.write(step if is_head else b"%x\r\n%b\r\n" % (len(step), step))
                await writer.drain()
            else:
                await asyncio.sleep(step)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def read(url: str, first_token_seconds: float, idle_seconds: float) -> bytes:
    transport = TimeLimitTransport(MergingTransport(), first_token_seconds, idle_seconds)
    received = b""
    async with (
        httpx2.AsyncClient(transport=transport, timeout=None) as client,
        client.stream("GET", url) as response,
    ):
        if FIRST_TOKEN_HEADER in response.headers:
            raise FirstTokenTimeout("no response")
        async for data in response.aiter_raw():
            received += data
            if b"[DONE]" in received:
                break
    return received


DONE = b"data: [DONE]\n\n"


async def test_comments_after_the_first_token_are_life() -> None:
    """An answer whose pieces are further apart than the limit goes on while comments come."""
    async with endpoint(HEAD, TOKEN, *[0.5, COMMENT] * 4, TOKEN, DONE) as url:
        received = await read(url, first_token_seconds=30, idle_seconds=1.5)
    assert received.count(b"word") == 2


async def test_the_first_token_may_take_longer_than_a_gap() -> None:
    """With comments, with an empty first piece or in silence, only its own limit holds."""

    async def answer(wait: list[Step]) -> bytes:
        async with endpoint(HEAD, *wait, COMMENT, 1.3, TOKEN, DONE) as url:
            return await read(url, first_token_seconds=30, idle_seconds=1)

    waits: list[list[Step]] = [[COMMENT, 1.3], [ROLE, 1.3], [1.3]]
    assert all(b"word" in each for each in await asyncio.gather(*map(answer, waits)))


@pytest.mark.parametrize("steps", [(), (HEAD,), (HEAD, ROLE), (HEAD, *[COMMENT, 0.05] * 100)])
async def test_a_first_token_that_does_not_come_ends_the_wait(steps: tuple[Step, ...]) -> None:
    """Before the response, in it, or however many comments come."""
    async with endpoint(*steps) as url, asyncio.timeout(60):
        with pytest.raises(FirstTokenTimeout):
            await read(url, first_token_seconds=0.4, idle_seconds=0.3)


async def test_silence_after_the_first_token_ends_the_wait() -> None:
    """The gap's own limit holds, though the first token could have taken longer."""
    async with endpoint(HEAD, TOKEN) as url, asyncio.timeout(60):
        with pytest.raises(httpx2.ReadTimeout) as caught:
            await read(url, first_token_seconds=60, idle_seconds=0.3)
    assert not isinstance(caught.value, FirstTokenTimeout)


async def test_pieces_in_an_unknown_form_are_life() -> None:
    """An endpoint whose tokens are not recognised is not cut off while it sends data."""
    odd = b'data: {"odd": 1}\n\n'
    async with endpoint(HEAD, *[odd, 0.4] * 5, DONE) as url:
        assert (await read(url, first_token_seconds=1.5, idle_seconds=1.5)).count(b"odd") == 5
