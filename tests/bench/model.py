"""A lean OpenAI-compatible model: it must cost less than what is measured against it.

The last user message says how much to stream and how fast: `stream 500 tokens at 50 per second`,
or `stream 5000 tokens` for as fast as the reader takes them. Events are shaped as OpenAI's are.

    python -m tests.bench.model --port 0        prints its base URL
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from functools import lru_cache
from typing import Any

import orjson

TICK_SECONDS = 0.01
_WANTED = re.compile(r"stream (\d+) tokens(?: at ([\d.]+) per second)?")
_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _event(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [
        {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    ]  # fmt: skip
    body = {
        "id": "chatcmpl-CfZ1v0f3Yw9m2QkLxE8sT7uHjRbNa",
        "object": "chat.completion.chunk",
        "created": 1764000000,
        "model": "gpt-5-mini-2025-08-07",
        "service_tier": "default",
        "system_fingerprint": "fp_560af6e559",
        "choices": choices,
        "usage": None,
        **more,
    }
    data = b"data: " + orjson.dumps(body) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


_TOKENS = [_event({"content": f" word{n}"}) for n in range(10)]
_OPENING = _event({"role": "assistant", "content": "", "refusal": None})
_DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


@lru_cache(maxsize=64)
def _ending(tokens: int) -> bytes:
    return _event({}, "stop") + _event(None, usage=_usage(tokens)) + _DONE


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}


@lru_cache(maxsize=16)
def _texts(tokens: int) -> bytes:
    return b"".join(_TOKENS[n % 10] for n in range(tokens))


def _whole(tokens: int) -> bytes:
    """The answer to a request that does not stream, as some of LangGraph's modes ask."""
    text = "".join(f" word{n % 10}" for n in range(tokens))
    message = {"role": "assistant", "content": text, "refusal": None}
    body = orjson.dumps(
        {
            "id": "chatcmpl-CfZ1v0f3Yw9m2QkLxE8sT7uHjRbNa",
            "object": "chat.completion",
            "created": 1764000000,
            "model": "gpt-5-mini-2025-08-07",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _usage(tokens),
        }
    )
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class _Stream:
    """One answer at its rate; every tick sends what is due."""

    def __init__(self, transport: asyncio.Transport, tokens: int, rate: float) -> None:
        self._transport, self._tokens, self._rate = transport, tokens, rate
        self._sent, self._start = 0, time.monotonic()
        self.tick(self._start)

    def tick(self, now: float) -> bool:
        """Sends what is due; whether there is more to come."""
        due = min(int((now - self._start) * self._rate) + 1, self._tokens)
        if due > self._sent:
            self._transport.write(b"".join(_TOKENS[n % 10] for n in range(self._sent, due)))
            self._sent = due
        if self._sent == self._tokens:
            self._transport.write(_ending(self._tokens))
        return self._sent < self._tokens and not self._transport.is_closing()


class _Connection(asyncio.Protocol):
    def __init__(self, streams: list[_Stream]) -> None:
        self._streams = streams
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.startswith(b"GET ") and self._buffer.endswith(b"\r\n\r\n"):
            self._buffer = b""
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if blank and length and len(body) >= int(length[1]):
            self._buffer = body[int(length[1]) :]
            self._answer(orjson.loads(body[: int(length[1])]))

    def _answer(self, request: dict[str, Any]) -> None:
        said = [m["content"] for m in request["messages"] if m["role"] == "user"][-1]
        said = said if isinstance(said, str) else said[0]["text"]
        wanted = _WANTED.search(said)
        tokens, rate = (int(wanted[1]), wanted[2]) if wanted else (3, None)
        if not request.get("stream"):
            self._transport.write(_whole(tokens))
            return
        self._transport.write(_HEAD + _OPENING)
        if rate is None:
            self._transport.write(_texts(tokens) + _ending(tokens))
        else:
            self._streams.append(_Stream(self._transport, tokens, float(rate)))


async def serve(port: int) -> None:
    """Serves for ever; prints the base URL once the port is open."""
    streams: list[_Stream] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(streams), "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    tick_at = loop.time()
    while True:
        streams[:] = [stream for stream in streams if stream.tick(time.monotonic())]
        tick_at = max(tick_at + TICK_SECONDS, loop.time())
        await asyncio.sleep(tick_at - loop.time())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.model", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(serve(parser.parse_args().port))
