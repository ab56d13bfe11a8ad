"""Calls of middleware that nobody traces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any

import langsmith
import pytest
from langsmith import traceable

from agent.middleware.untraced_calls import call_in_place, in_place_where_untraced


@traceable(name="call")
async def call(fails: bool = False) -> Any:
    await asyncio.sleep(0)
    if fails:
        raise ValueError("as asked")
    return asyncio.current_task()


@pytest.fixture
def in_place() -> Iterator[None]:
    call_in_place()
    yield
    langsmith.set_runtime_overrides(aio_to_thread=None)


class Counted(ThreadPoolExecutor):
    submitted = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **kwargs)


@pytest.mark.usefixtures("in_place")
async def test_an_untraced_call_takes_no_thread_and_no_task() -> None:
    """It runs in its caller's task; its result, its errors and a cancellation pass as they are."""
    executor = Counted(1)
    asyncio.get_running_loop().set_default_executor(executor)
    assert await call() is asyncio.current_task()
    with pytest.raises(ValueError, match="as asked"):
        await call(fails=True)
    cancelled = asyncio.create_task(call())
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert executor.submitted == 0


async def test_a_traced_call_is_traced_in_a_thread() -> None:
    """Where a run is traced, LangSmith does in its thread what it does without us."""
    in_thread = list[Any]()

    async def call_in_thread(context: Context, function: Any, *args: Any, **kwargs: Any) -> Any:
        in_thread.append(function)
        return context.run(function, *args, **kwargs)

    context = copy_context()
    assert await in_place_where_untraced(call_in_thread, context, sum, [1], start=2) == 3
    assert not in_thread
    with langsmith.tracing_context(enabled=True):
        assert await in_place_where_untraced(call_in_thread, context, sum, [1], start=2) == 3
    assert in_thread == [sum]
