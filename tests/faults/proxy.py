"""A proxy on loopback between one client and one server, which does what its plan says."""

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

from tests.faults.delivery import Delivery, Struck
from tests.faults.http_peer import Left, Peer
from tests.faults.plan import NetFault, Plan

_MOST_IN_A_ROW = 2
_STATUS_BODY = b"<html><body><h1>The gateway cannot serve this now.</h1></body></html>"
_OTHER_FAULTS = (
    NetFault("unsent"),
    NetFault("lost"),
    NetFault("status", status=502),
    NetFault("status", status=503),
    NetFault("status", status=429, retry_after="0"),
    NetFault("stall", seconds=0.3),
)
_STREAM = re.compile(rb"/stream(/events)?(\?|$)")  # a browser's `fetch` may accept anything
_STARTS = (b"/commands", b"/v1/responses")
_BROKEN = (Left, Struck, OSError, h11.ProtocolError)


Choose = Callable[[h11.Request, bytes], NetFault | None]


class Planned:
    """Chooses each request's fault as a plan says."""

    def __init__(self, plan: Plan) -> None:
        self._start, self._streams = list(plan.start), list(plan.streams)
        self._others, self._random = plan.others, random.Random(plan.seed)
        self._in_a_row = 0

    def __call__(self, request: h11.Request, body: bytes) -> NetFault | None:
        starts = b"/runs" in request.target or request.target.endswith(_STARTS)
        if self._start and request.method == b"POST" and starts:
            return self._start.pop(0)
        accepts = dict(request.headers).get(b"accept", b"")
        if b"text/event-stream" in accepts or _STREAM.search(request.target):
            return self._streams.pop(0) if self._streams else None
        if self._in_a_row < _MOST_IN_A_ROW and self._random.random() < self._others:
            self._in_a_row += 1
            return self._random.choice(_OTHER_FAULTS)
        self._in_a_row = 0
        return None


class Proxy:
    """Listens at `url` while the context is open and passes requests on to `upstream_url`.

    `plan` says which fault each request meets, or chooses it by the request and its body. `done`
    lists the faults that were really done, and `body_bytes` counts what the responses brought.
    `tell` hears of each request and fault.
    """

    def __init__(
        self,
        upstream_url: str,
        plan: Plan | Choose,
        tell: Callable[[str], None] = lambda line: None,
        port: int = 0,
    ) -> None:
        where = urlsplit(upstream_url)
        self._upstream = (where.hostname, where.port or 80)
        self._choose = Planned(plan) if isinstance(plan, Plan) else plan
        self._resets = False
        self._peers: set[Peer] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._place = socket.socket()  # bound for as long as we live: nobody else gets the port
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", port))
        self._port = self._place.getsockname()[1]
        self._server: asyncio.Server | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.done: list[NetFault] = []
        self.body_bytes = 0
        self._say = tell

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stop_listening()
        self._place.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, reuse_address=True
        )

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer, h11.SERVER)
        if self._resets:
            peer.reset()
        else:
            self._keep(asyncio.create_task(self._serve(peer)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Peer) -> None:
        """One connection of the client, request after request."""
        self._peers.add(client)
        try:
            while True:
                await self._exchange(client)
                client.http.start_next_cycle()
        except _BROKEN:
            pass
        finally:
            self._peers.discard(client)
            client.close()

    async def _exchange(self, client: Peer) -> None:
        request = await client.next_event()
        assert isinstance(request, h11.Request)
        body = b"".join([bytes(piece.data) async for piece in client.body()])
        fault = self._choose(request, body)
        self._say(f"  {request.method.decode()} {request.target.decode()}")
        if fault and fault.kind == "unsent":
            self._tell(fault)
            client.reset()
            raise Struck
        if fault and fault.kind == "status":
            self._tell(fault)
            await _answer(client, fault)
            return
        await self._pass_on(client, request, body, fault)

    def _tell(self, fault: NetFault) -> None:
        self.done.append(fault)
        self._say(f"  fault: {fault}")

    async def _pass_on(
        self, client: Peer, request: h11.Request, body: bytes, fault: NetFault | None
    ) -> None:
        upstream = Peer(*await asyncio.open_connection(*self._upstream), h11.CLIENT)
        try:
            await upstream.send(request)
            if body:
                await upstream.send(h11.Data(data=body))
            await upstream.send(h11.EndOfMessage())
            response = await upstream.next_event()
            assert isinstance(response, h11.Response)
            if fault and fault.kind == "lost":
                self._tell(fault)
                client.reset()
                raise Struck
            await self._deliver(client, response, upstream, fault)
        finally:
            upstream.close()

    async def _deliver(
        self, client: Peer, response: h11.Response, upstream: Peer, fault: NetFault | None
    ) -> None:
        """Sends the response, until the client leaves it."""
        delivery = Delivery(client, fault, self._tell)
        sending = asyncio.create_task(delivery.send(response, upstream.body()))
        leaving = asyncio.create_task(client.wait_left())
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise Left
            await sending
        except Struck:
            assert fault
            self._break(client, fault)
            raise
        finally:
            self.body_bytes += delivery.passed_bytes
            for task in (sending, leaving):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, *_BROKEN):
                await asyncio.gather(sending, leaving, return_exceptions=True)

    def _break(self, client: Peer, fault: NetFault) -> None:
        if fault.kind == "fin":
            client.close()
            return
        client.reset()
        if fault.kind in ("refuse", "reset"):
            for peer in self._peers:
                peer.reset()
            self._keep(asyncio.create_task(self._refuse(fault)))

    async def _refuse(self, fault: NetFault) -> None:
        self._resets = fault.kind == "reset"
        if fault.kind == "refuse":
            self._stop_listening()
        await asyncio.sleep(fault.seconds)
        self._resets = False
        if self._server is None:
            await self._listen()


async def _answer(client: Peer, fault: NetFault) -> None:
    headers = [("content-type", "text/html"), ("content-length", str(len(_STATUS_BODY)))]
    if fault.retry_after is not None:
        headers.append(("retry-after", fault.retry_after))
    await client.send(h11.Response(status_code=fault.status, headers=headers))
    await client.send(h11.Data(data=_STATUS_BODY))
    await client.send(h11.EndOfMessage())
