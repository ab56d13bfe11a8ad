"""What telemetry's own code costs a stream of 50 tokens a second, timed alone.

    python -m tests.bench.telemetry ROUNDS STREAMS    prints milliseconds of CPU a second, as JSON

It is far less than what a server's CPU varies from one moment to the next. So a stream's calls are
made here with telemetry and without it, and nothing else is: the difference is what it adds. What
a process measures of itself is shared by its STREAMS.
"""

import asyncio
import gc
import json
import sys
import time
from typing import Any

from langchain_core.messages import AIMessageChunk
from starlette.types import Message, Receive, Scope, Send

from agent.telemetry import metrics
from agent.telemetry.export import LOOK_SECONDS, start_metrics
from agent.telemetry.runs import MeasuredCall, MeasuredRun
from agent.telemetry.streams import StreamTelemetry

STREAMS, SECONDS, FRAMES_PER_SECOND = 200, 5, 25
_FRAME = AIMessageChunk(" word word")
_LAST = AIMessageChunk(
    "", usage_metadata={"input_tokens": 20, "output_tokens": 250, "total_tokens": 270}
)
_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
_BODY: Message = {"type": "http.response.body", "body": b"data: word\n\n", "more_body": True}
_END: Message = {"type": "http.response.body", "body": b"", "more_body": False}


async def _plain(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_START)
    for _ in range(SECONDS * FRAMES_PER_SECOND):
        await send(_BODY)
    await send(_END)


async def _measured(scope: Scope, receive: Receive, send: Send) -> None:
    await send(_START)
    with MeasuredRun("chat_route") as run, run.calls(), MeasuredCall("model") as call:
        for _ in range(SECONDS * FRAMES_PER_SECOND):
            call.add(_FRAME)
            await send(_BODY)
        call.add(_LAST)
    await send(_END)


async def _ms_per_second(app: Any) -> float:
    """The CPU of one stream for one second."""

    async def send(message: Message) -> None: ...

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    gc.collect()
    scope: Scope = {"type": "http", "path": "/chat/stream", "headers": []}
    before = time.process_time()
    for _ in range(STREAMS):
        await app(dict(scope), receive, send)
    return 1000 * (time.process_time() - before) / STREAMS / SECONDS


def _process_ms_per_second() -> float:
    """The CPU of what a process measures without any stream."""
    before = time.process_time()
    for _ in range(STREAMS):
        metrics.event_loop_lag.record(0.001)
    return 1000 * (time.process_time() - before) / STREAMS / LOOK_SECONDS


async def added_ms(rounds: int, streams: int) -> list[float]:
    """What telemetry adds to one of so many streams, a value a round; the first warms up."""
    start_metrics()
    with_telemetry = StreamTelemetry(_measured)
    added = [
        await _ms_per_second(with_telemetry)
        - await _ms_per_second(_plain)
        + _process_ms_per_second() / streams
        for _ in range(rounds + 1)
    ]
    return added[1:]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(added_ms(*map(int, sys.argv[1:])))))
