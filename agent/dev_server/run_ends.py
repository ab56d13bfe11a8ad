"""A run's stream says at its end how the run has ended, to a client that asks for it.

A response that ends proves nothing: a proxy may have cut it. Without this a client asks for the
run's status, and joins the run once more to see that nothing follows.
"""

import functools
from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import orjson

from agent.dev_server.patch import Patch, Shape
from agent.dev_server.threads import ACTIVE

_is_asked = ContextVar("is_asked", default=False)


def ask_for_end() -> bool:
    """Has the streams that this request reads end with a part `end`; False where none can."""
    _is_asked.set(RUN_END.is_applied)
    return RUN_END.is_applied


def _tell_end(ops: Any) -> None:
    stream = ops.Runs.Stream
    join = stream.join

    @functools.wraps(join)
    async def join_to_the_end(run_id: UUID | str, **kwargs: Any) -> AsyncIterator[Any]:
        async with aclosing(join(run_id, **kwargs)) as joined:
            async for event in joined:
                yield event
        if _is_asked.get():
            async with ops.connect() as connection:
                runs, wanted = reversed(connection.store["runs"]), UUID(str(run_id))
                status = next((run["status"] for run in runs if run["run_id"] == wanted), None)
            if status is not None and status not in ACTIVE:
                yield b"end", orjson.dumps({"status": status}), None

    stream.join = staticmethod(join_to_the_end)


RUN_END = Patch(
    name="a run's stream tells its end",
    module="langgraph_runtime_inmem.ops",
    package="langgraph-runtime-inmem",
    series="0.36",
    replaces={
        "Runs.Stream.join": Shape(
            "run_id stream_channel thread_id ignore_404 cancel_on_disconnect stream_mode "
            "last_event_id ctx",
            """
            if mode == "control":
                if payload == b"done":
                    break
            """,
        )
    },
    needs=("connect",),
    apply=_tell_end,
    loss="the client asks twice more at each run's end, to be sure of it",
)
