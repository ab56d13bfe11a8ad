"""A run's stream says at its end how the run has ended, to a client that asks for it.

A response that ends proves nothing: a proxy may have cut it. Without this a client asks for the
run's status, and joins the run once more to see that nothing follows. The state of a run that has
succeeded comes along, where that is wanted: the client proves by it that it has all texts.
"""

import functools
from collections.abc import AsyncIterator
from contextlib import aclosing
from contextvars import ContextVar
from importlib import import_module
from typing import Any
from uuid import UUID

import orjson

from agent.dev_server.patch import Patch, Shape
from agent.dev_server.threads import ACTIVE

LARGEST_STATE_BYTES = 1024 * 1024  # a larger one is asked for by a request of its own

_is_asked = ContextVar("is_asked", default=False)
_is_state_asked = ContextVar("is_state_asked", default=False)


def ask_for_end(*, with_state: bool = False) -> bool:
    """Has the streams that this request reads end with a part `end`; False where none can."""
    _is_asked.set(RUN_END.is_applied)
    _is_state_asked.set(with_state)
    return RUN_END.is_applied


async def _state(ops: Any, connection: Any, thread_id: Any, ctx: Any) -> bytes | None:
    """The thread's state as the API gives it to this user; None where it is best asked for."""
    serde, states = (import_module(f"langgraph_api.{name}") for name in ("serde", "state"))
    config = {"configurable": {"thread_id": str(thread_id)}}
    try:
        snapshot = await ops.Threads.State.get(connection, config=config, ctx=ctx)
        state: bytes = serde.json_dumpb(states.state_snapshot_to_thread_state(snapshot))
    except Exception:  # the request for it has an answer that says why
        return None
    return state if len(state) <= LARGEST_STATE_BYTES else None


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
                if status is None or status in ACTIVE:
                    return
                end = {"status": status}
                if status == "success" and _is_state_asked.get():
                    thread_id, ctx = kwargs.get("thread_id"), kwargs.get("ctx")
                    if state := await _state(ops, connection, thread_id, ctx):
                        end["state"] = orjson.Fragment(state)
            yield b"end", orjson.dumps(end), None

    stream.join = staticmethod(join_to_the_end)


RUN_END = Patch(
    name="a run's stream tells its end",
    module="langgraph_runtime_inmem.ops",
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
    needs=("connect", "Threads.State.get"),
    apply=_tell_end,
    loss="the client asks three times more at each run's end, to be sure of it",
)
