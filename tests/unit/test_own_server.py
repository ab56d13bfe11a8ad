"""Requests of the server to itself: as over a socket, without one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.access.gate import _OWN_HEADER
from agent.http.own_server import (
    _MOST_WAITING_BYTES,
    OWN_URL,
    OwnServerClient,
    OwnServerTransport,
)

HEAD: Message = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]}


def body(data: bytes, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


@asynccontextmanager
async def asking(app: ASGIApp, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = OwnServerTransport(app, {"kept": 1})
    async with (
        asyncio.timeout(60),
        OwnServerClient(transport=transport, base_url=OWN_URL, **options) as client,
    ):
        yield client


async def test_a_request_is_the_apps() -> None:
    """It brings method, path, query, headers and body, is local, and is marked as the server's."""
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        message = await receive()
        await send(HEAD)
        await send(body(message["body"], more=False))

    async with asking(app) as client:
        answer = await client.post("/a%20b?c=d", content=b"asked", headers={"X-Key": "v"})
    assert (answer.status_code, answer.headers["x-a"], answer.content) == (200, "b", b"asked")
    (scope,) = scopes
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/a b", b"c=d")
    assert (scope["client"][0], scope["root_path"]) == ("127.0.0.1", "")
    assert scope["state"] == {"kept": 1}
    names = dict(scope["headers"])
    assert names[b"x-key"] == b"v"
    assert _OWN_HEADER.encode() in names


async def test_a_request_to_oneself_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the request that it is for, and keeps no cookie of an answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**HEAD, "headers": [(b"set-cookie", b"a=b")]})
        await send(body(b"x", more=False))

    with caplog.at_level("INFO"):
        async with asking(app) as client:
            assert (await client.get("/")).content == b"x"
    assert (caplog.records, list(client.cookies)) == ([], [])


async def test_a_slow_reader_gets_larger_pieces_and_the_app_waits() -> None:
    """What was not taken is joined; past the limit nothing more is taken of the app."""
    sent = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(HEAD)
        for number in range(1000):
            await send(body(b"x" * 1000, more=number < 999))
            sent += 1

    async with asking(app) as client, client.stream("GET", "/") as response:
        for _ in range(100):
            await asyncio.sleep(0)
        assert sent * 1000 <= _MOST_WAITING_BYTES + 1000
        pieces = [piece async for piece in response.aiter_raw()]
    assert len(b"".join(pieces)) == 1_000_000
    assert max(map(len, pieces)) > 10_000


async def test_a_reader_that_leaves_is_told() -> None:
    """The app gets the disconnect that a socket would give it."""
    heard = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(HEAD)
        await send(body(b"x"))
        assert (await receive())["type"] == "http.disconnect"
        heard.set()

    async with asking(app) as client:
        async with client.stream("GET", "/") as response:
            assert await anext(response.aiter_raw()) == b"x"
        await heard.wait()


@pytest.mark.parametrize("has_begun", [False, True])
async def test_an_app_that_fails_is_a_broken_response(has_begun: bool) -> None:
    """Before its head and behind it: never a response that looks whole."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if has_begun:
            await send(HEAD)
            await send(body(b"x"))
        raise RuntimeError("failed")

    async with asking(app) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/")


@pytest.mark.parametrize("has_begun", [False, True])
async def test_an_app_that_is_silent_is_not_waited_for(has_begun: bool) -> None:
    """The reader's time limit holds for each wait."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if has_begun:
            await send(HEAD)
        await asyncio.Event().wait()

    async with asking(app, timeout=0.1) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("/")
