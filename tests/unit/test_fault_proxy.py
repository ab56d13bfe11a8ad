"""The faulty proxy, as seen by a client at its socket."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from tests.faults.plan import AT_END, NetFault, Plan
from tests.faults.proxy import Proxy

EVENTS = [f"event: e\ndata: {n:04d}\n\n".encode() for n in range(40)]
WHOLE = b"".join(EVENTS)
STREAM = {"Accept": "text/event-stream"}
RUNS = "/threads/t/runs/stream"


@dataclass
class Upstream:
    """A server that answers every request with `EVENTS`, each a chunk, `gap_seconds` apart."""

    gap_seconds: float = 0.0
    requests: list[bytes] = field(default_factory=list)
    url: str = ""
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (h for h in head.lower().split(b"\r\n") if h.startswith(b"content-le")), b":0"
        )
        body = await reader.readexactly(int(length.partition(b":")[2]))
        self.requests.append(head.split(b"\r\n")[0] + b" " + body)
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for event in EVENTS:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(self.gap_seconds)
            if reader.at_eof():
                self.left.set()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    up = Upstream()
    server = await asyncio.start_server(up.answer, "127.0.0.1", 0)
    up.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield up
    server.close()


@asynccontextmanager
async def through(
    upstream: Upstream, *streams: NetFault, start: tuple[NetFault, ...] = (), others: float = 0.0
) -> AsyncIterator[tuple[Proxy, httpx.AsyncClient]]:
    plan = Plan(start=start, streams=streams, others=others)
    async with (
        Proxy(upstream.url, plan) as proxy,
        httpx.AsyncClient(base_url=proxy.url, trust_env=False, timeout=60) as http,
    ):
        yield proxy, http


async def read(http: httpx.AsyncClient, got: bytearray) -> None:
    async with http.stream("GET", "/s", headers=STREAM) as response:
        assert response.status_code == 200
        async for data in response.aiter_raw():
            got += data


async def test_without_a_plan_all_passes(upstream: Upstream) -> None:
    """Requests and responses pass unchanged, several on one connection."""
    async with through(upstream) as (proxy, http):
        first = await http.post(RUNS, content=b"hello")
        second = await http.get("/other")
    assert (first.content, second.content) == (WHOLE, WHOLE)
    assert upstream.requests == [f"POST {RUNS} HTTP/1.1 hello".encode(), b"GET /other HTTP/1.1 "]
    assert proxy.done == []


@pytest.mark.parametrize("after", [0, 1, 21, 100, len(WHOLE) - 1, AT_END])
@pytest.mark.parametrize(
    ("kind", "error"), [("rst", httpx.ReadError), ("fin", httpx.RemoteProtocolError)]
)
async def test_a_cut_comes_after_just_so_many_bytes(
    upstream: Upstream, kind: str, error: type[Exception], after: int
) -> None:
    """A reset or a FIN strikes where the plan says, and the next stream is whole."""
    got, again = bytearray(), bytearray()
    async with through(upstream, NetFault(kind, after)) as (proxy, http):  # type: ignore[arg-type]
        with pytest.raises(error):
            await read(http, got)
        await read(http, again)
    assert got == (WHOLE if after == AT_END else WHOLE[:after])
    assert again == WHOLE
    assert [fault.kind for fault in proxy.done] == [kind]


async def test_a_clean_end_inside_an_event_is_valid_http(upstream: Upstream) -> None:
    """The response ends as if it were whole, in the middle of an event."""
    got = bytearray()
    async with through(upstream, NetFault("end_mid", 101)) as (_, http):
        await read(http, got)
    assert got == WHOLE[:101]


async def test_a_clean_end_between_events_ends_with_an_event(upstream: Upstream) -> None:
    """The response ends as if it were whole, after the event that the plan's place is in."""
    got = bytearray()
    async with through(upstream, NetFault("end", 101)) as (_, http):
        await read(http, got)
    size = len(EVENTS[0])
    assert got == b"".join(EVENTS[: -(-101 // size)])


async def test_a_stall_holds_the_rest_and_then_goes_on(upstream: Upstream) -> None:
    """Nothing passes for the time of a stall, the connection stays, and nothing is missing."""
    got = bytearray()
    began = time.monotonic()
    fault = NetFault("stall", 50, seconds=0.3)
    async with through(upstream, fault) as (_, http), http.stream("GET", "/s", headers=STREAM) as r:
        async for data in r.aiter_raw():
            got += data
            if len(got) > 100:  # past the stall, and what came with its first bytes
                assert time.monotonic() - began >= 0.3
    assert got == WHOLE


async def test_throttle_passes_few_bytes_for_a_while(upstream: Upstream) -> None:
    """Under a throttle the bytes begin in small pieces; after it the rest comes at once."""
    pieces = list[int]()
    fault = NetFault("throttle", 0, seconds=0.2, count=400)
    async with through(upstream, fault) as (_, http), http.stream("GET", "/s", headers=STREAM) as r:
        async for data in r.aiter_raw():
            pieces.append(len(data))
    assert sum(pieces) == len(WHOLE)
    assert pieces[0] <= 400 * 0.05  # on a busy machine the while may end after one piece


async def test_buffering_gathers_what_comes_in_an_interval(upstream: Upstream) -> None:
    """Not even the head passes before the interval is over; then all that came does, in one."""
    upstream.gap_seconds = 0.005
    began = time.monotonic()
    async with (
        through(upstream, NetFault("buffer", seconds=0.4)) as (_, http),
        http.stream("GET", "/s", headers=STREAM) as response,
    ):
        waited_seconds = time.monotonic() - began
        got = b"".join([data async for data in response.aiter_raw()])
    assert waited_seconds >= 0.4
    assert got == WHOLE


async def test_split_sends_each_byte_by_itself(upstream: Upstream) -> None:
    """A raw reader sees single bytes, and the response they make is whole."""
    reads = list[bytes]()
    async with through(upstream, NetFault("split", 0, count=300)) as (proxy, _):
        host, port = proxy.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /s HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
        while b"0\r\n\r\n" not in b"".join(reads[-9:]):
            reads.append(await reader.read(65536))
        writer.close()
    single = sum(len(data) == 1 for data in reads)
    assert single > 200
    body = b"".join(reads).partition(b"\r\n\r\n")[2]
    assert b"".join(line for line in body.split(b"\r\n") if b":" in line) == WHOLE


async def closed(http: httpx.AsyncClient) -> type[Exception] | None:
    try:
        await http.get("/other")
    except httpx.TransportError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("kind", "error"), [("refuse", httpx.ConnectError), ("reset", httpx.ReadError)]
)
async def test_nothing_can_connect_for_a_while(
    upstream: Upstream, kind: str, error: type[Exception]
) -> None:
    """After the cut new connections are refused or reset, until the time is over."""
    fault = NetFault(kind, 10, seconds=0.5)  # type: ignore[arg-type]
    async with through(upstream, fault) as (_, http):
        began = time.monotonic()
        with pytest.raises(httpx.ReadError):
            await read(http, bytearray())
        assert await closed(http) is error
        while await closed(http) is not None:  # each try is a connection of its own
            pass
        assert time.monotonic() - began >= 0.5


async def test_an_error_status_keeps_the_request_from_the_server(upstream: Upstream) -> None:
    """The client reads the status, its Retry-After and an HTML page; the server reads nothing."""
    fault = NetFault("status", status=429, retry_after="7")
    async with through(upstream, fault) as (_, http):
        answer = await http.get("/s", headers=STREAM)
        assert (await http.get("/s", headers=STREAM)).content == WHOLE
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["content-type"] == "text/html"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(("kind", "seen"), [("unsent", 0), ("lost", 1)])
async def test_the_first_request_is_lost_before_or_after_the_server(
    upstream: Upstream, kind: str, seen: int
) -> None:
    """Both look the same to the client: a reset; only `lost` has reached the server."""
    async with through(upstream, start=(NetFault(kind),)) as (_, http):  # type: ignore[arg-type]
        with pytest.raises(httpx.ReadError):
            await http.post(RUNS, headers=STREAM)
        assert len(upstream.requests) == seen
        assert (await http.post(RUNS, headers=STREAM)).content == WHOLE


async def test_other_requests_fail_at_most_twice_in_a_row(upstream: Upstream) -> None:
    """Whatever the probability, the third try of a request that is no stream passes."""
    async with through(upstream, others=1.0) as (proxy, http):
        for _ in range(5):
            fates = [await passes(http) for _ in range(3)]
            assert fates[2]
    assert len(proxy.done) == 10


async def passes(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/other")).is_success
    except httpx.TransportError:
        return False


async def test_a_client_that_leaves_lets_the_server_go(upstream: Upstream) -> None:
    """When the client closes its connection, the proxy closes the one to the server."""
    upstream.gap_seconds = 0.05
    async with through(upstream) as (_, http):
        async with http.stream("GET", "/s", headers=STREAM) as response:
            arriving = response.aiter_raw()
            await anext(arriving)
        async with asyncio.timeout(60):
            await upstream.left.wait()
