"""Small patches of the server, which threads of one's own, limits and long lives need.

Each is applied only where the server has the known shape (langgraph-api 0.16.7, runtime-inmem
0.36.7), and has a test that fails when upstream makes it needless.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from starlette.exceptions import HTTPException

from agent.dev_server.null_escapes import keep_null_escapes

KEPT_SECONDS = 600.0  # a run's events, after its end

_turns = WeakValueDictionary[UUID, asyncio.Lock]()  # of each thread's runs


def apply() -> None:
    """Patches what is loaded; a second call changes nothing."""
    one_query_for_history(sys.modules.get("langgraph_api._checkpointer._adapter"))
    one_deletion_at_a_time(sys.modules.get("langgraph_runtime_inmem.ops"))
    one_run_at_a_time(sys.modules.get("langgraph_runtime_inmem.ops"))
    runs_end_before_their_thread(sys.modules.get("langgraph_runtime_inmem.ops"))
    a_users_runs_are_put_in_turn(sys.modules.get("langgraph_runtime_inmem.ops"))
    ended_runs_are_forgotten(sys.modules.get("langgraph_runtime_inmem.ops"))
    keep_null_escapes(sys.modules.get("langgraph_api.serde"))


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
    enter = runs.enter

    @asynccontextmanager
    async def enter_in_turn(
        run_id: UUID, thread_id: UUID | None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        async with _turn(thread_id or run_id), enter(run_id, thread_id, *args, **kwargs) as done:
            yield done

    runs.enter, runs.takes_turns = staticmethod(enter_in_turn), True
    return True


def _turn(thread_id: UUID) -> asyncio.Lock:
    return _turns.setdefault(thread_id, asyncio.Lock())


def runs_end_before_their_thread(module: Any) -> bool:
    """Stops a thread's runs before the thread is deleted, and waits until their workers have left.

    The server forgets the runs alone: their workers go on, and write what they do into a thread
    that is no more. Whoever may not stop them may not delete the thread, and is told so by it.
    """
    threads = getattr(module, "Threads", None)
    if threads is None or getattr(threads, "stops_runs", False):
        return False
    delete = threads.delete

    async def stop_and_delete(conn: Any, thread_id: UUID | str, *args: Any, **kwargs: Any) -> Any:
        thread = UUID(str(thread_id))
        active = [run["run_id"] for run in conn.store["runs"] if _is_active(run, thread)]
        if active:
            with suppress(HTTPException):
                await module.Runs.cancel(conn, active, thread_id=thread)
                async with _turn(thread):
                    pass
        return await delete(conn, thread_id, *args, **kwargs)

    threads.delete, threads.stops_runs = staticmethod(stop_and_delete), True
    return True


def _is_active(run: Any, thread_id: UUID) -> bool:
    """A run with a thread for itself deletes that at its own end, and must not wait for itself."""
    is_its_own = run["kwargs"].get("temporary", False)
    is_going_on = run["status"] in ("pending", "running")
    return run["thread_id"] == thread_id and is_going_on and not is_its_own


def a_users_runs_are_put_in_turn(module: Any) -> bool:
    """Lets the limit of a user's runs hold for those that are asked for in the same instant.

    The server asks whether a run may be made, waits for its log among others, and then makes it:
    all that are asked for meanwhile would be counted before any of them is there.
    """
    runs = getattr(module, "Runs", None)
    if runs is None or getattr(runs, "puts_in_turn", False):
        return False
    put, turns = runs.put, WeakValueDictionary[str | None, asyncio.Lock]()

    async def put_in_turn(*args: Any, user_id: str | None = None, **kwargs: Any) -> Any:
        turn = turns.setdefault(user_id, asyncio.Lock())
        async with turn:
            return await put(*args, user_id=user_id, **kwargs)

    runs.put, runs.puts_in_turn = staticmethod(put_in_turn), True
    return True


def ended_runs_are_forgotten(module: Any, kept_seconds: float = KEPT_SECONDS) -> bool:
    """Lets go of a run's events some time after its end; the in-memory server has them for life."""
    runs = getattr(module, "Runs", None)
    if runs is None or getattr(runs, "forgets", False):
        return False
    enter = runs.enter

    @asynccontextmanager
    async def enter_and_forget(
        run_id: UUID, thread_id: UUID | None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        try:
            async with enter(run_id, thread_id, *args, **kwargs) as done:
                yield done
        finally:
            events = module.get_stream_manager().message_stores
            loop = asyncio.get_running_loop()
            loop.call_later(kept_seconds, _forget, events, run_id, thread_id)

    runs.enter, runs.forgets = staticmethod(enter_and_forget), True
    return True


def _forget(events: dict[Any, dict[Any, Any]], run_id: UUID, thread_id: UUID | None) -> None:
    of_thread = events.get(thread_id, {})
    of_thread.pop(run_id, None)
    if not of_thread:
        events.pop(thread_id, None)
