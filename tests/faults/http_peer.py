"""One end of an HTTP/1.1 connection: events from its bytes, bytes from events."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import h11

READ_BYTES = 65536
_LINGER_NOT = struct.pack("ii", 1, 0)
Event = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Left(Exception):
    """The other end closed the connection."""


class Peer:
    """A stream pair with the HTTP state of `role`, which is ours in the conversation."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        role: type[h11.CLIENT] | type[h11.SERVER],
    ) -> None:
        self.http = h11.Connection(role)
        self.reader, self.writer = reader, writer
        writer.transport.set_write_buffer_limits(high=0)  # so that drained means handed over

    async def next_event(self) -> h11.Event:
        """The next event. Raises Left when the connection ends first."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(READ_BYTES))
        if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
            raise Left
        return event  # type: ignore[return-value]

    async def body(self) -> AsyncIterator[h11.Data]:
        """The pieces of the message's body, until its end."""
        while isinstance(event := await self.next_event(), h11.Data):
            yield event

    async def send(self, event: h11.Event) -> None:
        """Sends one event whole."""
        if data := self.http.send(event):
            await self.write(data)

    async def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def wait_left(self) -> None:
        """Returns when the other end has closed; what it sends meanwhile is kept."""
        while data := await self.reader.read(READ_BYTES):
            self.http.receive_data(data)

    def reset(self) -> None:
        """Ends the connection with RST."""
        reset(self.writer)

    def close(self) -> None:
        """Ends the connection with FIN."""
        self.writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST."""
    wire = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
