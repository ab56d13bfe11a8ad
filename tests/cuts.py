"""A network that breaks connections as a seed says, whatever they carry: HTTP or WebSockets."""

import asyncio
import random
from contextlib import suppress

from tests.faults.http_peer import READ_BYTES, reset
from tests.relay import Relay

_LEAST_BYTES, _MOST_BYTES = 100, 20_000
_LONGEST_STALL_SECONDS, _LONGEST_OUTAGE_SECONDS = 1.5, 2.0


class Cuts(Relay):
    """A relay that does so `left` times; then the network is good.

    After so many bytes of an answer its connection is reset, closed, or stands still for a while;
    for some time after a break each new connection may be reset, too. `done` names what was done.
    """

    def __init__(self, server_url: str, seed: int) -> None:
        super().__init__(server_url)
        self._random = random.Random(seed)
        self._out_until = 0.0
        self.left = 0
        self.done = list[str]()

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if asyncio.get_running_loop().time() < self._out_until:
            reset(to_client)
        else:
            await super()._relay(client, to_client)

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        if not is_answer:
            return await super()._pass(source, sink, is_answer=False)
        with suppress(OSError):
            await self._answer(source, sink)
        sink.close()

    async def _answer(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        passes = self._some_bytes()
        while data := await server.read(READ_BYTES):
            while self.left and len(data) >= passes:
                to_client.write(data[:passes])
                await to_client.drain()
                if await self._breaks(to_client):
                    return
                data, passes = data[passes:], self._some_bytes()
            to_client.write(data)
            await to_client.drain()
            passes = max(passes - len(data), 0)

    def _some_bytes(self) -> int:
        return int(_LEAST_BYTES * (_MOST_BYTES / _LEAST_BYTES) ** self._random.random())

    async def _breaks(self, to_client: asyncio.StreamWriter) -> bool:
        """Whether the connection is over."""
        self.left -= 1
        kind = self._random.choice(("reset", "close", "stall"))
        self.done.append(kind)
        if kind == "stall":
            await asyncio.sleep(self._random.uniform(0, _LONGEST_STALL_SECONDS))
            return False
        if self._random.random() < 0.5:
            seconds = self._random.uniform(0, _LONGEST_OUTAGE_SECONDS)
            self._out_until = asyncio.get_running_loop().time() + seconds
        if kind == "reset":
            reset(to_client)
        return True
