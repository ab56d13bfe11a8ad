"""Limits of a WebSocket, which `langgraph dev` gives uvicorn no options for.

No compression: a few kilobytes of it inflate to megabytes, on the event loop, before any limit of
the application looks. A frame is refused by its length, before it is read. What arrives is parsed
in small pieces, and no further than the application has read. Control frames and fragments, which
the application never sees, are counted; pongs that nobody reads are left out.
"""

import functools
from collections.abc import Callable
from typing import Any

from agent.dev_server.patch import Patch, Shape
from agent.settings import settings

PIECE_BYTES = 4096
UNREAD_BYTES = 65_536  # in the connection's buffer: then a pong is left out
COST_PER_SECOND = 1000
_CONTROL_COST, _FRAGMENT_COST = 10, 1
_POLICY_VIOLATION = 1008  # a close code of RFC 6455


def _apply(module: Any) -> None:
    protocol = module.WebSocketsSansIOProtocol
    init, data_received, receive = protocol.__init__, protocol.data_received, protocol.receive

    @functools.wraps(init)
    def init_with_limits(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        config.ws_per_message_deflate = False
        config.ws_max_size = settings().steady_largest_body_bytes
        init(self, config, *args, **kwargs)
        self.steady_unparsed = bytearray()
        self.steady_second, self.steady_cost = 0, 0

    def parse(self: Any) -> None:
        """As much as the application can take; no more is read while some is left."""
        while self.steady_unparsed and not self.read_paused and not self.transport.is_closing():
            piece = bytes(self.steady_unparsed[:PIECE_BYTES])
            del self.steady_unparsed[:PIECE_BYTES]
            data_received(self, piece)

    @functools.wraps(data_received)
    def data_received_in_pieces(self: Any, data: bytes) -> None:
        self.steady_unparsed += data
        parse(self)

    @functools.wraps(receive)
    async def receive_and_parse(self: Any) -> Any:
        message = await receive(self)
        parse(self)
        return message

    protocol.__init__ = init_with_limits
    protocol.data_received = data_received_in_pieces
    protocol.receive = receive_and_parse
    protocol.handle_ping = _counted(_pong_if_read(protocol.handle_ping), _CONTROL_COST)
    protocol.handle_pong = _counted(protocol.handle_pong, _CONTROL_COST)
    protocol.handle_cont = _counted(protocol.handle_cont, _FRAGMENT_COST)


def _pong_if_read(handle_ping: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(handle_ping)
    def handle(self: Any) -> None:
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.conn.data_to_send()  # the pong
        else:
            handle_ping(self)

    return handle


def _counted(handle: Callable[..., None], cost: int) -> Callable[..., None]:
    """The handler of a frame, as long as such frames do not cost too much in a second."""

    @functools.wraps(handle)
    def handle_within_limit(self: Any, *args: Any) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        second = int(self.loop.time())
        if second != self.steady_second:
            self.steady_second, self.steady_cost = second, 0
        self.steady_cost += cost
        if self.steady_cost <= COST_PER_SECOND:
            handle(self, *args)
            return
        self.conn.data_to_send()
        self.conn.fail(_POLICY_VIOLATION, "Too many control frames or fragments.")
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": _POLICY_VIOLATION})
        self.transport.close()

    return handle_within_limit


WEBSOCKET_LIMITS = Patch(
    name="a WebSocket has limits",
    module="uvicorn.protocols.websockets.websockets_sansio_impl",
    replaces={
        "WebSocketsSansIOProtocol.__init__": Shape(
            "self config server_state app_state _loop",
            """
            if self.config.ws_per_message_deflate:
                extensions = [
            """,
        ),
        "WebSocketsSansIOProtocol.data_received": Shape(
            "self data",
            """
            self.conn.receive_data(data)
            if self.conn.parser_exc is not None:  # pragma: no cover
            """,
        ),
        "WebSocketsSansIOProtocol.receive": Shape(
            "self",
            """
            message = await self.queue.get()
            if self.read_paused and self.queue.empty():
            """,
        ),
        "WebSocketsSansIOProtocol.handle_ping": Shape(
            "self", 'output = self.conn.data_to_send()\nself.transport.write(b"".join(output))'
        ),
        "WebSocketsSansIOProtocol.handle_pong": Shape(
            "self event", "self.last_ping_rtt = self.loop.time() - self.ping_sent_at"
        ),
        "WebSocketsSansIOProtocol.handle_cont": Shape(
            "self event", "self.frames.append(event.data)"
        ),
    },
    apply=_apply,
    loss="compressed or tiny frames on one WebSocket can hold up all users",
)
