"""What streams cost at the pace of models that people pay for: 50 tokens a second each.

A stream's cost is that of long answers less that of as many short ones, which is the cost of a run.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx

from client.cli.bench import Heard, figures, percentile, post_stream, run_stream
from client.delivery.wire import Part, read_parts
from client.events import JSON
from tests.bench.contestants import OURS, Contestant

TOKENS_PER_SECOND = 50
_SHORT = "stream 3 tokens"
_SETTLE_SECONDS = 0.3
_LONGEST_SETTLE_SECONDS = 6.0
_TUPLE, _THREAD, _AGENT, _CHAT = "messages-tuple", "stream/events", "/agent/stream", "/chat/stream"

Way = Callable[[httpx.AsyncClient, str], Awaitable[Heard]]


@dataclass(frozen=True)
class Load:
    """So many streams at once, each for so many seconds."""

    streams: int
    seconds: int
    rounds: int


@dataclass
class Pace:
    """One way of streaming at one contestant; a value a round."""

    stream_ms: list[float] = field(default_factory=list)
    run_ms: list[float] = field(default_factory=list)
    gap_ms: list[float] = field(default_factory=list)
    gap_p99_ms: list[float] = field(default_factory=list)
    bytes_per_token: float = 0.0


def measured(
    tutorial: Contestant, stock: Contestant, ours: Contestant, load: Load
) -> dict[str, Pace]:
    """Each row, in turns; the warm-up is not counted."""
    rows: dict[str, tuple[Contestant, Way]] = {
        "FastAPI tutorial": (tutorial, tutorial.ask),
        f"stock, `{_TUPLE}`": (stock, _tuple),
        f"stock, v3 `{_THREAD}`": (stock, _thread_stream),
        f"{OURS}, `{_TUPLE}`": (ours, _tuple),
        f"{OURS}, `{_AGENT}`": (ours, _agent),
        f"{OURS}, `{_CHAT}`": (ours, _chat),
        f"{OURS}, v3 `{_THREAD}`": (ours, _thread_stream),
    }
    found = {name: Pace() for name in rows}
    for who, way in rows.values():
        asyncio.run(_together(who, way, f"stream 30 tokens at {TOKENS_PER_SECOND} per second", 4))
    for _ in range(load.rounds):
        for name, (who, way) in rows.items():
            _measure(found[name], who, way, load)
    return found


def telemetry(on: Contestant, off: Contestant, load: Load) -> dict[str, list[float]]:
    """What a stream costs with telemetry and without it, in ms a second; a pair each round."""
    found = {on.name: Pace(), off.name: Pace()}
    for who in (on, off):
        asyncio.run(_together(who, _chat, f"stream 30 tokens at {TOKENS_PER_SECOND} per second", 4))
    for number in range(load.rounds):
        for who in (on, off) if number % 2 else (off, on):
            _measure(found[who.name], who, _chat, load)
    return {name: pace.stream_ms for name, pace in found.items()}


def _measure(pace: Pace, who: Contestant, way: Way, load: Load) -> None:
    idle = _settled(who)
    asyncio.run(_together(who, way, _SHORT, load.streams))
    after_short = _settled(who)
    tokens = TOKENS_PER_SECOND * load.seconds
    question = f"stream {tokens} tokens at {TOKENS_PER_SECOND} per second"
    heard = asyncio.run(_together(who, way, question, load.streams))
    after_long = _settled(who)
    run_seconds = (after_short - idle) / load.streams
    stream_seconds = ((after_long - after_short) / load.streams - run_seconds) / load.seconds
    pace.run_ms.append(1000 * run_seconds)
    pace.stream_ms.append(1000 * stream_seconds)
    shown = figures(heard)
    if shown.failed:
        raise RuntimeError(f"{who.name} failed: {shown.failed[0]}")
    pace.gap_ms.append(1000 * (percentile(shown.gaps, 0.5) or 0.0))
    pace.gap_p99_ms.append(1000 * (percentile(shown.gaps, 0.99) or 0.0))
    pace.bytes_per_token = sum(h.size_bytes for h in heard) / load.streams / tokens


def _settled(who: Contestant) -> float:
    """The CPU seconds that it has spent, once it spends no more."""
    spent, end = who.cpu_seconds(), time.monotonic() + _LONGEST_SETTLE_SECONDS
    while time.monotonic() < end:
        time.sleep(_SETTLE_SECONDS)
        before, spent = spent, who.cpu_seconds()
        if spent - before <= 0.05 * _SETTLE_SECONDS:
            break
    return spent


async def _together(who: Contestant, way: Way, question: str, streams: int) -> list[Heard]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=who.url, limits=limits) as http:
        return list(await asyncio.gather(*(way(http, question) for _ in range(streams))))


async def _tuple(http: httpx.AsyncClient, question: str) -> Heard:
    return await run_stream(http, "messages", question)


async def _agent(http: httpx.AsyncClient, question: str) -> Heard:
    return await post_stream(http, _AGENT, {"message": question}, _agent_text)


async def _chat(http: httpx.AsyncClient, question: str) -> Heard:
    return await post_stream(http, _CHAT, {"question": question}, _chat_text)


async def _thread_stream(http: httpx.AsyncClient, question: str) -> Heard:
    """A run over the thread-stream protocol: one request listens, another starts it."""
    thread_id, heard, began = uuid.uuid4(), Heard(), time.perf_counter()
    await http.post("/threads", json={"thread_id": str(thread_id)})
    channels = {"channels": ["messages", "lifecycle"]}
    path = f"/threads/{thread_id}"
    async with http.stream("POST", f"{path}/stream/events", json=channels, timeout=60) as response:
        asked = {"messages": [{"role": "user", "content": question}]}
        start = {"method": "run.start", "params": {"assistant_id": "agent", "input": asked}}
        await http.post(f"{path}/commands", json={"id": 1, **start}, timeout=60)
        async for parts in read_parts(response):
            texts = [_protocol_text(part) for part in parts]
            if any(texts):
                heard.characters += sum(len(text or "") for text in texts)
                heard.arrivals_seconds.append(time.perf_counter() - began)
            if None in texts:
                break
        heard.size_bytes = response.num_bytes_downloaded
    return heard


def _protocol_text(part: Part) -> str | None:
    """The text of an event; None at the run's end."""
    params: JSON = (part.data or {}).get("params") or {}
    data = params.get("data") if isinstance(params.get("data"), dict) else {}
    match (part.data or {}).get("method"):
        case "lifecycle" if data.get("event") in ("completed", "failed"):
            return None if not params.get("namespace") else ""
        case "messages" if data.get("event") == "content-block-delta":
            return str((data.get("delta") or {}).get("text") or "")
    return ""


def _agent_text(part: Part) -> tuple[str, int]:
    data = part.data
    return (data["content"], 0) if data["type"] == "token" else ("", 0)


def _chat_text(part: Part) -> tuple[str, int]:
    return part.data.get("token") or "", 0
