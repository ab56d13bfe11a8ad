"""What a LangGraph server's streams cost and how they flow, measured from outside, over raw HTTP.

The load generator reads parts and looks for text; it decodes nothing else, so that it costs little.
"""

import asyncio
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx

from ..client import AgentClient
from ..decoding.decoder import WIRE_MODES
from ..decoding.messages import text_of
from ..delivery.wire import Part, read_parts
from ..errors import SteadyError, from_status, translated
from ..events import JSON, Mode

CHARACTERS_PER_TOKEN = 4  # for models that report no usage: OpenAI's rule of thumb for English
_DELETIONS_AT_A_TIME = 10
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)


@dataclass
class Heard:
    """One stream: when its texts arrived (seconds since the request), and what it weighed."""

    arrivals_seconds: list[float] = field(default_factory=list)
    characters: int = 0
    reported_tokens: int = 0
    size_bytes: int = 0
    duration_seconds: float = 0.0
    error: str = ""

    @property
    def tokens(self) -> int:
        """As the model reports them, else estimated from the text's length."""
        return self.reported_tokens or self.characters // CHARACTERS_PER_TOKEN

    @property
    def first_text_seconds(self) -> float | None:
        return self.arrivals_seconds[0] if self.arrivals_seconds else None

    @property
    def gaps_seconds(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.arrivals_seconds)]


Text = Callable[[Part], tuple[str, int]]


async def run_stream(
    http: httpx.AsyncClient,
    mode: Mode,
    question: str,
    assistant_id: str = "agent",
    thread_id: str | None = None,
) -> Heard:
    """One run in one mode, on a new thread, which gets `thread_id` where that is given."""
    body: JSON = {
        "assistant_id": assistant_id,
        "input": {"messages": [{"role": "user", "content": question}]},
        "stream_mode": [WIRE_MODES[mode]],
        "stream_resumable": True,
        "if_not_exists": "create",
    }
    return await post_stream(
        http, f"/threads/{thread_id or uuid.uuid4()}/runs/stream", body, text_in
    )


async def post_stream(http: httpx.AsyncClient, path: str, body: JSON, text: Text) -> Heard:
    """Any event stream that a POST gives; `text` finds a part's text and token count."""
    heard, started = Heard(), time.perf_counter()
    try:
        with translated(str(http.base_url)):
            async with http.stream("POST", path, json=body, timeout=_TIMEOUT) as response:
                if not response.is_success:
                    told = (await response.aread()).decode(errors="replace")
                    raise from_status(response.status_code, told, None)
                async for parts in read_parts(response):
                    _take(heard, parts, text, time.perf_counter() - started)
                heard.size_bytes = response.num_bytes_downloaded
    except SteadyError as error:
        heard.error = error.message
    heard.duration_seconds = time.perf_counter() - started
    return heard


def _take(heard: Heard, parts: list[Part], text: Text, at_seconds: float) -> None:
    found = 0
    for part in parts:
        if part.name == "error":
            heard.error = str(part.data.get("message") or part.data)
            continue
        said, tokens = text(part)
        found += len(said)
        heard.reported_tokens += tokens
    if found:
        heard.characters += found
        heard.arrivals_seconds.append(at_seconds)


def text_in(part: Part) -> tuple[str, int]:
    """What a part of the model's answer says, and the tokens that it reports.

    In `values` mode each state repeats the last; only the answer's own message counts, which has
    the usage.
    """
    if part.name not in WIRE_MODES:
        return "", 0
    message = _message(part.name, part.data)
    usage = (message or {}).get("usage_metadata") or {}
    return text_of(message or {}), int(usage.get("output_tokens") or 0)


def _message(name: str, data: Any) -> JSON | None:
    if name == "messages":
        message: JSON = data[0]
        return message if message.get("type") == "AIMessageChunk" else None
    if name == "events":
        chunk = (data.get("data") or {}).get("chunk")
        is_text = data.get("event") == "on_chat_model_stream" and isinstance(chunk, dict)
        return chunk if is_text else None
    states = [data] if name == "values" else list(data.values())
    last = [(state or {}).get("messages") or [] for state in states]
    found = [m for messages in last for m in messages[-1:] if m.get("type") == "ai"]
    return found[-1] if found else None


@dataclass(frozen=True)
class Load:
    """`runs` runs in each mode: `streams` at a time or, where set, `runs_per_second` begun.

    At a rate, a run begins when it is due, however many are open: a server that falls behind is
    not spared.
    """

    runs: int = 5
    streams: int = 1
    runs_per_second: float | None = None

    def __str__(self) -> str:
        if self.runs_per_second:
            return f"{self.runs} runs a mode, {self.runs_per_second:g} begun a second"
        return f"{self.runs} runs a mode, {self.streams} at a time"


async def under(
    load: Load, agent: AgentClient, mode: Mode, question: str, assistant_id: str = "agent"
) -> list[Heard]:
    """What is heard of the streams of a load, in one mode. The threads are deleted afterwards."""
    free = asyncio.Semaphore(load.streams if load.runs_per_second is None else load.runs)
    thread_ids = [str(uuid.uuid4()) for _ in range(load.runs)]

    async def one(number: int) -> Heard:
        await asyncio.sleep(number / load.runs_per_second if load.runs_per_second else 0)
        async with free:
            http = agent.sdk.http.client
            return await run_stream(http, mode, question, assistant_id, thread_ids[number])

    try:
        return list(await asyncio.gather(*map(one, range(load.runs))))
    finally:
        await delete_threads(agent, thread_ids)


async def delete_threads(agent: AgentClient, thread_ids: Iterable[str]) -> None:
    """Deletes what a measurement has made; a thread that never was, or is held, is passed over."""
    free = asyncio.Semaphore(_DELETIONS_AT_A_TIME)

    async def delete(thread_id: str) -> None:
        async with free:
            with suppress(SteadyError):
                await agent.threads.delete(thread_id)

    await asyncio.gather(*map(delete, thread_ids))


@dataclass(frozen=True)
class Figures:
    """What a set of streams shows; times in seconds, None where there was no text."""

    streams: int
    failed: Sequence[str]
    first_text: Sequence[float]
    gaps: Sequence[float]
    tokens_per_second: float
    bytes_per_token: float
    is_estimated: bool


def figures(heard: Sequence[Heard]) -> Figures:
    """Sums up streams that ran together."""
    good = [h for h in heard if not h.error and h.arrivals_seconds]
    tokens = sum(h.tokens for h in good)
    writing = [h.arrivals_seconds[-1] - h.arrivals_seconds[0] for h in good]
    rates = [h.tokens / seconds for h, seconds in zip(good, writing, strict=True) if seconds > 0]
    return Figures(
        streams=len(heard),
        failed=[h.error or "no text" for h in heard if h not in good],
        first_text=sorted(h.arrivals_seconds[0] for h in good),
        gaps=sorted(gap for h in good for gap in h.gaps_seconds),
        tokens_per_second=statistics.median(rates) if rates else 0.0,
        bytes_per_token=sum(h.size_bytes for h in good) / tokens if tokens else 0.0,
        is_estimated=any(not h.reported_tokens for h in good),
    )


def percentile(sorted_values: Sequence[float], share: float) -> float | None:
    """The value below which `share` (0 to 1) of the sorted values are."""
    if not sorted_values:
        return None
    return sorted_values[min(int(share * len(sorted_values)), len(sorted_values) - 1)]
