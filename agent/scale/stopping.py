"""A run that is stopped has saved its partial answer before its end is written.

Where the stop arrives while an event is being written, Aegra leaves the graph, which saves it, to
the garbage collector: the thread's next run could begin before.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import Any

from aegra_api.services import run_executor

# In the task of a run: closes what the run reads its graph's events from.
_events: ContextVar[AsyncExitStack] = ContextVar("events")


def apply() -> None:
    """Has Aegra close a graph's events where it stops to read them."""
    run_executor.stream_graph_events = _noted(run_executor.stream_graph_events)
    run_executor.stream_native_v3_events = _noted(run_executor.stream_native_v3_events)
    run_executor._stream_legacy = _closing(run_executor._stream_legacy)
    run_executor._stream_native_v2 = _closing(run_executor._stream_native_v2)


def _noted(stream: Callable[..., AsyncGenerator[Any]]) -> Callable[..., AsyncGenerator[Any]]:
    def noted(**options: Any) -> AsyncGenerator[Any]:
        events = stream(**options)
        _events.get().push_async_callback(events.aclose)
        return events

    return noted


def _closing(run: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run_and_close(*arguments: Any) -> None:
        async with AsyncExitStack() as events:
            _events.set(events)
            await run(*arguments)

    return run_and_close
