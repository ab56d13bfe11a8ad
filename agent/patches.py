"""Three small patches of the server, needed where threads are kept in a checkpointer of one's own.

Each is applied only where the server has the known shape (langgraph-api 0.16.7, runtime-inmem
0.36.7), and has a test that fails when upstream makes it needless.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary


def apply() -> None:
    """Patches what is loaded; a second call changes nothing."""
    one_query_for_history(sys.modules.get("langgraph_api._checkpointer._adapter"))
    one_deletion_at_a_time(sys.modules.get("langgraph_runtime_inmem.ops"))
    one_run_at_a_time(sys.modules.get("langgraph_runtime_inmem.ops"))


def one_query_for_history(module: Any) -> bool:
    """Lets the server ask a custom checkpointer for a delta channel's history in one query.

    The server's adapter around custom checkpointers has every method but this one, and so walks
    back checkpoint by checkpoint: 60 ms of CPU a turn in place of 10.
    """
    adapter = getattr(module, "_CustomCheckpointerAdapter", None)
    if adapter is None or "aget_delta_channel_history" in vars(adapter):
        return False

    async def asked_of_inner(self: Any, **asked: Any) -> Any:
        return await self._inner.aget_delta_channel_history(**asked)

    adapter.aget_delta_channel_history = asked_of_inner
    return True


def one_deletion_at_a_time(module: Any) -> bool:
    """Keeps two deletions from meeting in the in-memory server.

    It looks up a thread's place in its list, waits for the checkpointer (and for authorization),
    and then removes what is at that place: another thread, if one before it was removed meanwhile.
    """
    threads = getattr(module, "Threads", None)
    if threads is None or getattr(threads, "takes_turns", False):
        return False
    delete, turn = threads.delete, asyncio.Lock()

    async def delete_in_turn(*args: Any, **kwargs: Any) -> Any:
        async with turn:
            return await delete(*args, **kwargs)

    threads.delete, threads.takes_turns = staticmethod(delete_in_turn), True
    return True


def one_run_at_a_time(module: Any) -> bool:
    """Lets a thread's next run begin when the worker of the one before has left.

    A run that is cancelled counts as ended at once, while its worker still writes what was said,
    or takes the run back: the next one would begin from a state that is about to change.
    """
    runs = getattr(module, "Runs", None)
    if runs is None or getattr(runs, "takes_turns", False):
        return False
    enter, turns = runs.enter, WeakValueDictionary[UUID, asyncio.Lock]()

    @asynccontextmanager
    async def enter_in_turn(
        run_id: UUID, thread_id: UUID | None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        turn = turns.setdefault(thread_id or run_id, asyncio.Lock())
        async with turn, enter(run_id, thread_id, *args, **kwargs) as done:
            yield done

    runs.enter, runs.takes_turns = staticmethod(enter_in_turn), True
    return True
