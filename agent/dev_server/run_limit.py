"""The limit of a user's runs holds for requests that arrive in the same instant.

The server asks its authorization handler whether a run may be created, waits, and then creates it:
all requests that arrive meanwhile would be counted before any of their runs exists.
"""

import asyncio
import functools
from typing import Any
from weakref import WeakValueDictionary

from agent.dev_server.patch import Patch, Shape


def _apply(ops: Any) -> None:
    put, turns = ops.Runs.put, WeakValueDictionary[str | None, asyncio.Lock]()

    @functools.wraps(put)
    async def put_in_turn(*args: Any, user_id: str | None = None, **kwargs: Any) -> Any:
        turn = turns.setdefault(user_id, asyncio.Lock())
        async with turn:
            return await put(*args, user_id=user_id, **kwargs)

    ops.Runs.put = staticmethod(put_in_turn)


RUN_LIMIT = Patch(
    name="a user's runs are created in turn",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Runs.put": Shape(
            "conn assistant_id kwargs thread_id user_id run_id status metadata"
            " prevent_insert_if_inflight multitask_strategy if_not_exists after_seconds ctx"
            " langsmith_session_name",
            """
            filters = await Runs.handle_event(
                ctx,
                "create_run",
                create_run_value,
            )
            """,
        )
    },
    apply=_apply,
    loss="requests that arrive together may pass the limit of a user's runs",
)
