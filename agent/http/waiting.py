"""What waits in storage, for the metrics: approvals, and runs in the queue."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from agent.access.ownership import server_rows
from agent.telemetry import metrics

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 5.0

Waiting = dict[str, int]  # by kind: "approvals" and "runs"


async def waiting_here() -> Waiting:
    """What waits at the in-memory server; nothing is known of another one's."""
    threads, runs = await server_rows("threads"), await server_rows("runs")
    if threads is None or runs is None:
        return {}
    return {
        "approvals": sum(thread["status"] == "interrupted" for thread in threads),
        "runs": sum(run["status"] == "pending" for run in runs),
    }


look: Callable[[], Awaitable[Waiting]] = waiting_here  # `agent.scale` puts its own in its place


@asynccontextmanager
async def watched() -> AsyncIterator[None]:
    """Has the metrics know what waits, while the context is open."""
    task = asyncio.create_task(_look_on())
    try:
        yield
    finally:
        task.cancel()


async def _look_on() -> None:
    while True:
        try:
            metrics.counts.waiting = await look()
        except Exception as error:
            metrics.counts.waiting = {}  # no number rather than an old one
            await log.awarning(f"What waits is not known: {type(error).__name__}")
        await asyncio.sleep(LOOK_SECONDS)
