"""How a response's body reaches the client, as one fault has it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import h11

from tests.faults.http_peer import Peer
from tests.faults.plan import AT_END, NetFault

_THROTTLE_TICK_SECONDS = 0.05


class Struck(Exception):
    """The fault ends this response, and not in the way that the server meant."""


class Delivery:
    """Sends one response to `client` and does `fault` to it; `told` hears when it strikes."""

    def __init__(self, client: Peer, fault: NetFault | None, told: Callable[[NetFault], None]):
        self._client, self._fault, self._told = client, fault, told
        self._waiting = fault if fault and fault.kind != "buffer" else None
        self.passed_bytes = 0
        self._single_bytes = 0
        self._slow_until = 0.0

    async def send(self, response: h11.Response, body: AsyncIterator[h11.Data]) -> None:
        """Sends all of it. Raises Struck where the fault is one that ends the connection."""
        if self._fault and self._fault.kind == "buffer":
            self._told(self._fault)
            body = _held(body, self._fault.seconds)
        head = response
        async for piece in body:
            if head is not None:
                await self._client.send(head)
                head = None
            if await self._pass(bytes(piece.data), piece.chunk_end):
                return
        if head is not None:
            await self._client.send(head)
        if self._waiting and self._waiting.after_bytes == AT_END and await self._strike():
            return
        await self._client.send(h11.EndOfMessage())

    async def _pass(self, data: bytes, is_boundary: bool) -> bool:
        """Passes a piece on; True when the response has ended with it."""
        fault = self._waiting
        if fault and fault.after_bytes != AT_END and self._reaches(fault, data, is_boundary):
            at = len(data) if fault.kind == "end" else fault.after_bytes - self.passed_bytes
            await self._write(data[:at])
            if await self._strike():
                return True
            data = data[at:]
        await self._write(data)
        return False

    def _reaches(self, fault: NetFault, data: bytes, is_boundary: bool) -> bool:
        reached = self.passed_bytes + len(data) >= fault.after_bytes
        return reached and (is_boundary or fault.kind != "end")

    async def _strike(self) -> bool:
        """Does the fault; True when it has ended the response cleanly."""
        fault = self._waiting
        assert fault
        self._waiting = None
        self._told(fault)
        match fault.kind:
            case "end" | "end_mid":
                await asyncio.sleep(fault.seconds)
                await self._client.send(h11.EndOfMessage())
                return True
            case "stall":
                await asyncio.sleep(fault.seconds)
            case "split":
                self._single_bytes = fault.count
            case "throttle":
                self._slow_until = asyncio.get_running_loop().time() + fault.seconds
            case "rst" | "fin":
                await asyncio.sleep(fault.seconds)
                raise Struck
            case _:
                raise Struck
        return False

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        self.passed_bytes += len(data)
        wire = self._client.http.send(h11.Data(data=data)) or b""
        single, self._single_bytes = self._single_bytes, max(self._single_bytes - len(wire), 0)
        for at in range(min(single, len(wire))):
            await self._client.write(wire[at : at + 1])
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # a reader in this event loop has had its turn only now
        await self._write_slowly(wire[single:])

    async def _write_slowly(self, wire: bytes) -> None:
        now = asyncio.get_running_loop().time
        while wire and now() < self._slow_until and self._fault:
            size = max(int(self._fault.count * _THROTTLE_TICK_SECONDS), 1)
            await self._client.write(wire[:size])
            wire = wire[size:]
            await asyncio.sleep(_THROTTLE_TICK_SECONDS)
        if wire:
            await self._client.write(wire)


async def _held(body: AsyncIterator[h11.Data], seconds: float) -> AsyncIterator[h11.Data]:
    """Gathers what comes within each interval, and gives it at the interval's end."""
    gathered = bytearray()
    finished = asyncio.Event()

    async def gather() -> None:
        try:
            async for piece in body:
                gathered.extend(piece.data)
        finally:
            finished.set()

    task = asyncio.create_task(gather())
    try:
        while not finished.is_set():
            await asyncio.sleep(seconds)
            if gathered:
                data = bytes(gathered)
                gathered.clear()
                yield h11.Data(data=data, chunk_start=True, chunk_end=True)
        await task
        if gathered:
            yield h11.Data(data=bytes(gathered), chunk_start=True, chunk_end=True)
    finally:
        task.cancel()
