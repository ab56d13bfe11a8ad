"""A line in the log is written by whoever logs it.

The server has each of its lines formatted and written by another thread, eight for a short run, and
waits for it: the formatting holds the interpreter's lock all the same, and the hand-over costs as
much as the line.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

from agent.dev_server.patch import Patch, Shape


def _apply(stdlib: Any) -> None:
    in_a_thread = stdlib.BoundLogger._dispatch_to_sync
    calling_stack = stdlib._ASYNC_CALLING_STACK

    @functools.wraps(in_a_thread)
    async def log_here(
        self: Any, meth: Callable[..., Any], event: str, args: tuple[Any, ...], kw: dict[str, Any]
    ) -> None:
        if kw.get("exc_info"):  # to show a traceback, files are read
            await in_a_thread(self, meth, event, args, kw)
            return
        token = calling_stack.set(sys._getframe(2))
        try:
            meth(event, *args, **kw)
        finally:
            calling_stack.reset(token)

    stdlib.BoundLogger._dispatch_to_sync = log_here


NO_THREAD_PER_LOG_LINE = Patch(
    name="a line in the log needs no thread",
    module="structlog.stdlib",
    replaces={
        "BoundLogger._dispatch_to_sync": Shape(
            "self meth event args kw",
            """
            await asyncio.get_running_loop().run_in_executor(
                None,
                lambda: ctx.run(lambda: meth(event, *args, **kw)),
            )
            """,
        )
    },
    needs=("_ASYNC_CALLING_STACK",),
    apply=_apply,
    loss="each run and each request costs more",
)
