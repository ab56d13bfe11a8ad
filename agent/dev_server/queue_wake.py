"""`langgraph dev` looks for new runs every half second; this wakes it when a run is put.

A patch of somebody else's code; smaller ones are in patches.py. The in-memory runtime's
`Runs.next` sleeps before it looks, and takes "now" before it sleeps, so a run put meanwhile waits
for the next round: 0.72 s on average (langgraph-runtime-inmem 0.36.7). Other runtimes have real
queues and are left alone.
"""

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import structlog

log = structlog.stdlib.get_logger(__name__)

POLL_SECONDS = 0.5
_SLEEP = "if wait:\n            await asyncio.sleep(0.5)"


def apply() -> bool:
    """Patches the in-memory runtime where it is loaded and has the known shape; says so once."""
    ops: Any = sys.modules.get("langgraph_runtime_inmem.ops")
    if ops is None or getattr(ops.Runs, "wakes", False):
        return False
    if not known(ops.Runs):
        log.warning("Queue wake is off: this in-memory runtime is not the one it was written for.")
        return False
    _patch(ops.Runs)
    log.info("Queue wake is on: new runs start at once (STEADY_QUEUE_WAKE=false turns it off).")
    return True


def known(runs: Any) -> bool:
    """Whether `Runs.next` and `Runs.put` are as they were when this was written."""
    try:
        waits = _SLEEP in inspect.getsource(runs.next)
    except (OSError, TypeError):
        return False
    takes = list(inspect.signature(runs.next).parameters) == ["wait", "limit"]
    return waits and takes and inspect.iscoroutinefunction(runs.put)


def _patch(runs: Any) -> None:
    look, put = runs.next, runs.put
    arrived = asyncio.Event()

    async def next_when_put(wait: bool, limit: int = 1) -> AsyncGenerator[tuple[Any, int]]:
        if wait:
            with suppress(TimeoutError):
                await asyncio.wait_for(arrived.wait(), POLL_SECONDS)
        arrived.clear()
        async with aclosing(look(wait=False, limit=limit)) as found:
            async for run in found:
                yield run

    async def put_and_wake(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        made: AsyncIterator[Any] = await put(*args, **kwargs)
        arrived.set()
        return made

    runs.next, runs.put = staticmethod(next_when_put), staticmethod(put_and_wake)
    runs.wakes = True
