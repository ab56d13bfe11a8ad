"""Limits of a request before it is one, which `langgraph dev` gives uvicorn no options for.

A request's head may have `STEADY_LARGEST_HEAD_BYTES`, and all of it has to be there within
`STEADY_REQUEST_SECONDS`: no connection is held open, and no memory, by what is never sent.
"""

import functools
from typing import Any

from agent.dev_server.patch import Patch, Shape
from agent.settings import settings

_TOO_LARGE = (431, "Request Header Fields Too Large", "STEADY_LARGEST_HEAD_BYTES")
_TOO_SLOW = (408, "Request Timeout", "STEADY_REQUEST_SECONDS")


class _HeadTooLarge(Exception):
    pass


def _apply(module: Any) -> None:
    protocol = module.HttpToolsProtocol
    made, lost = protocol.connection_made, protocol.connection_lost
    data_received, upgrade = protocol.data_received, protocol.handle_websocket_upgrade
    begin, head_complete = protocol.on_message_begin, protocol.on_headers_complete
    complete, bad_request = protocol.on_message_complete, protocol.send_400_response

    def start_timer(self: Any) -> None:
        stop_timer(self)
        delay = settings().steady_request_seconds
        self.steady_timer = self.loop.call_later(delay, too_slow, self)

    def stop_timer(self: Any) -> None:
        if (timer := getattr(self, "steady_timer", None)) is not None:
            timer.cancel()
        self.steady_timer = None

    def too_slow(self: Any) -> None:
        if self.transport.is_closing():
            return
        is_answering = self.cycle is not None and self.cycle.response_started
        if not is_answering or self.cycle.response_complete:
            self.transport.write(_answer(*_TOO_SLOW))
        self.transport.close()

    @functools.wraps(made)
    def connection_made(self: Any, transport: Any) -> None:
        made(self, transport)
        self.steady_head_bytes, self.steady_is_head = 0, True
        start_timer(self)

    @functools.wraps(lost)
    def connection_lost(self: Any, exc: Any) -> None:
        stop_timer(self)
        lost(self, exc)

    @functools.wraps(upgrade)
    def handle_websocket_upgrade(self: Any) -> None:
        stop_timer(self)
        upgrade(self)

    @functools.wraps(begin)
    def on_message_begin(self: Any) -> None:
        self.steady_head_bytes, self.steady_is_head = 0, True
        start_timer(self)
        begin(self)

    @functools.wraps(head_complete)
    def on_headers_complete(self: Any) -> None:
        self.steady_is_head = False
        head_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if head_bytes > settings().steady_largest_head_bytes:
            self.steady_head_bytes = head_bytes
            raise _HeadTooLarge  # the parser ends, and send_400_response is called
        head_complete(self)

    @functools.wraps(complete)
    def on_message_complete(self: Any) -> None:
        stop_timer(self)
        complete(self)

    @functools.wraps(data_received)
    def data_received_within_limit(self: Any, data: bytes) -> None:
        data_received(self, data)
        if self.steady_is_head and not self.transport.is_closing():
            self.steady_head_bytes += len(data)
            if self.steady_head_bytes > settings().steady_largest_head_bytes:
                self.send_400_response("")

    @functools.wraps(bad_request)
    def send_400_response(self: Any, msg: str) -> None:
        stop_timer(self)
        if self.steady_head_bytes <= settings().steady_largest_head_bytes:
            bad_request(self, msg)
            return
        self.transport.write(_answer(*_TOO_LARGE))
        self.transport.close()

    for replacement in (
        *(connection_made, connection_lost, handle_websocket_upgrade, on_message_begin),
        *(on_headers_complete, on_message_complete, send_400_response),
    ):
        setattr(protocol, replacement.__name__, replacement)
    protocol.data_received = data_received_within_limit


def _answer(status: int, phrase: str, setting: str) -> bytes:
    body = f"{phrase}: the limit is {setting}.".encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


REQUEST_LIMITS = Patch(
    name="a request's head has a size and a request has a time",
    module="uvicorn.protocols.http.httptools_impl",
    replaces={
        "HttpToolsProtocol.connection_made": Shape("self transport", "self.connections.add(self)"),
        "HttpToolsProtocol.connection_lost": Shape("self exc", "self.connections.discard(self)"),
        "HttpToolsProtocol.data_received": Shape(
            "self data",
            """
            except httptools.HttpParserError:
                msg = "Invalid HTTP request received."
                self.logger.warning(msg)
                self.send_400_response(msg)
                return
            """,
        ),
        "HttpToolsProtocol.handle_websocket_upgrade": Shape(
            "self", "self.transport.set_protocol(protocol)"
        ),
        "HttpToolsProtocol.on_message_begin": Shape("self", 'self.url = b""'),
        "HttpToolsProtocol.on_headers_complete": Shape(
            "self", "parsed_url = httptools.parse_url(self.url)"
        ),
        "HttpToolsProtocol.on_message_complete": Shape("self", "self.cycle.more_body = False"),
        "HttpToolsProtocol.send_400_response": Shape("self msg", "content = [STATUS_LINE[400]]"),
    },
    apply=_apply,
    loss="a connection that never sends its request whole is held open, with what it has sent",
)
