"""How many streams of 50 tokens a second a server holds at once.

They begin one after another, as people come, and go on until the end; at each level, what their
readers get is looked at for a while. What many starts at the same moment cost is another figure.
The readers look at nothing but how many words have come, so that they are not what is measured.
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from client.cli.bench import percentile
from client.events import JSON
from tests.bench.contestants import Contestant
from tests.bench.pace import TOKENS_PER_SECOND

GAP_LIMIT_SECONDS = 0.25
_LEAST_SHARE = 0.95  # of the tokens that the model gives meanwhile: a server may not fall behind
_BEGUN_PER_SECOND = 12
_SETTLE_SECONDS = 1.5
_LOOK_SECONDS = 3.0
_TOKENS = 20_000  # more than there is time for
_WORD = b" word"


@dataclass(frozen=True)
class Capacity:
    """How many streams a server held, and what one more of them weighed."""

    streams: int
    gap_p99_ms: dict[int, float]
    bytes_per_stream: float


class _Reader(asyncio.Protocol):
    """One stream: when its text came, and how many tokens each time."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.arrivals = list[tuple[float, int]]()
        self.has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if tokens := data.count(_WORD):
            self.arrivals.append((time.monotonic(), tokens))

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = True

    def between(self, begin: float, end: float) -> tuple[list[float], int]:
        """The gaps in seconds that ended between two moments, and the tokens that came."""
        found = [(at, tokens) for at, tokens in self.arrivals if begin <= at < end]
        times = [at for at, _ in found]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        return gaps or [end - begin], sum(tokens for _, tokens in found)


async def capacity(contestant: Contestant, levels: Sequence[int]) -> Capacity:
    """More and more streams, until the gaps get too long, one ends, or the server falls behind."""
    where, loop = urlsplit(contestant.url), asyncio.get_running_loop()
    held, gaps, memory = 0, dict[int, float](), dict[int, int]()
    readers: list[_Reader] = []
    try:
        for streams in levels:
            began, more = loop.time(), streams - len(readers)
            for number in range(more):
                await asyncio.sleep(began + number / _BEGUN_PER_SECOND - loop.time())
                request = _request(contestant)
                _, reader = await loop.create_connection(
                    lambda request=request: _Reader(request),  # type: ignore[misc]
                    where.hostname,
                    where.port,
                )
                readers.append(reader)
            await asyncio.sleep(_SETTLE_SECONDS)
            begin = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
            end = time.monotonic()
            if any(reader.has_ended for reader in readers):
                break
            seen = [reader.between(begin, end) for reader in readers]
            gap = percentile(sorted(gap for found, _ in seen for gap in found), 0.99) or 0.0
            gaps[streams] = 1000 * gap
            memory[streams] = contestant.memory_bytes()
            tokens = sum(tokens for _, tokens in seen) / streams
            is_behind = tokens < _LEAST_SHARE * TOKENS_PER_SECOND * (end - begin)
            if gap >= GAP_LIMIT_SECONDS or is_behind:
                break
            held = streams
    finally:
        for reader in readers:
            reader.transport.close()
    fewest, most = min(memory, default=0), max(memory, default=0)
    grown = memory[most] - memory[fewest] if most > fewest else 0
    return Capacity(held, gaps, grown / max(most - fewest, 1))


def _request(contestant: Contestant) -> bytes:
    question = f"stream {_TOKENS} tokens at {TOKENS_PER_SECOND} per second"
    body: JSON = {"message": question}
    path = "/chat"
    if contestant.kind == "langgraph":
        path = f"/threads/{uuid.uuid4()}/runs/stream"
        body = {
            "assistant_id": "agent",
            "input": {"messages": [{"role": "user", "content": question}]},
            "stream_mode": ["messages-tuple"],
            "stream_resumable": True,
            "if_not_exists": "create",
        }
    content = orjson.dumps(body)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(contestant.url).netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
