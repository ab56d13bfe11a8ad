"""A call of middleware that nobody traces needs no threads and no task.

LangChain traces each call of a middleware by LangSmith, which begins and ends a trace in another
thread and makes the call in a task of its own, where nothing is traced too.
"""

from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import langsmith
from langsmith.utils import tracing_is_enabled


def call_in_place() -> None:
    """Has LangSmith do in place what it does for calls that are not traced.

    Where the environment asks for traces, and with an older LangSmith, all stays as it is.
    """
    change = getattr(langsmith, "set_runtime_overrides", None)
    if change is not None and not tracing_is_enabled():
        change(aio_to_thread=in_place_where_untraced)


async def in_place_where_untraced(
    in_thread: Callable[..., Awaitable[Any]],
    context: Context,
    function: Callable[..., Any],
    /,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Calls the function, in a thread where a trace is asked for."""
    if tracing_is_enabled():
        return await in_thread(context, function, *args, **kwargs)
    return context.run(function, *args, **kwargs)
