"""A thread's runs one after the other, and its deletion after them.

In the in-memory server a run that is cancelled counts as ended at once, while its worker still
writes; a deleted thread's workers write on; and two deletions at once remove a thread that nobody
named.
"""

import asyncio
import functools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from starlette.exceptions import HTTPException

from agent.dev_server.patch import Patch, Shape
from agent.dev_server.thread_index import of_thread

ACTIVE = ("pending", "running")  # statuses of a run that has not ended
# From a reader's leaving to its run's being cancelled. Turns of the event loop count as well: on a
# busy machine the time is over when the loop has just seen that the connection is closed.
LEAVING_SECONDS, LEAVING_TURNS = 0.05, 50
STOP_SECONDS = 12.0  # a stopped run's worker may write for 10 seconds

_turns = WeakValueDictionary[UUID, asyncio.Lock]()  # of each thread's workers
_workers: dict[UUID, tuple[UUID, asyncio.Event]] = {}  # by thread: the run at work, and its end


async def stopped_worker_left(thread_id: UUID) -> None:
    """Waits while the worker of a run of this thread that was stopped still writes what it keeps.

    At most `STOP_SECONDS`; not at all for a run that goes on, or on another server. A client that
    stops a run by leaving its stream may ask before the server has noticed: `LEAVING_SECONDS`.
    """
    run_id, has_left = _workers.get(thread_id, (None, None))
    if has_left is None:
        return
    for _ in range(LEAVING_TURNS):
        if not await _is_active_run(thread_id, run_id):
            break
        await asyncio.sleep(LEAVING_SECONDS / LEAVING_TURNS)
    else:
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(has_left.wait(), STOP_SECONDS)


async def _is_active_run(thread_id: UUID, run_id: UUID | None) -> bool:
    database: Any = sys.modules["langgraph_runtime_inmem.database"]
    async with database.connect() as connection:
        runs = of_thread(connection.store, "runs", thread_id)
        return any(run["run_id"] == run_id and run["status"] in ACTIVE for run in runs)


def _turn(thread_id: UUID) -> asyncio.Lock:
    return _turns.setdefault(thread_id, asyncio.Lock())


def _one_run_at_a_time(ops: Any) -> None:
    """A thread's next run begins when the worker of the one before has left.

    Otherwise it would begin from a state that is about to change: the worker of a cancelled run
    still saves the partial answer, or rolls the run back.
    """
    enter = ops.Runs.enter

    @functools.wraps(enter)
    @asynccontextmanager
    async def enter_in_turn(
        run_id: UUID, thread_id: UUID | None, *args: Any, **kwargs: Any
    ) -> AsyncIterator[Any]:
        thread, has_left = thread_id or run_id, asyncio.Event()
        async with _turn(thread):
            _workers[thread] = run_id, has_left
            try:
                async with enter(run_id, thread_id, *args, **kwargs) as done:
                    yield done
            finally:
                del _workers[thread]
                has_left.set()

    ops.Runs.enter = staticmethod(enter_in_turn)


def _one_deletion_at_a_time(ops: Any) -> None:
    """The server looks up a thread's index in its list, waits, and then removes what is there."""
    delete, turn = ops.Threads.delete, asyncio.Lock()

    @functools.wraps(delete)
    async def delete_in_turn(*args: Any, **kwargs: Any) -> Any:
        async with turn:
            return await delete(*args, **kwargs)

    ops.Threads.delete = staticmethod(delete_in_turn)


def _runs_end_before_their_thread(ops: Any) -> None:
    """A thread's runs are stopped before the thread is deleted, and their workers waited for.

    A user who may not stop them may not delete the thread either, and the deletion says so.
    """
    delete = ops.Threads.delete

    @functools.wraps(delete)
    async def stop_and_delete(conn: Any, thread_id: UUID | str, *args: Any, **kwargs: Any) -> Any:
        thread = UUID(str(thread_id))
        runs = of_thread(conn.store, "runs", thread)
        active = [run["run_id"] for run in runs if _is_active(run)]
        if active:
            with suppress(HTTPException):
                await ops.Runs.cancel(conn, active, thread_id=thread)
                async with _turn(thread):
                    pass
        return await delete(conn, thread_id, *args, **kwargs)

    ops.Threads.delete = staticmethod(stop_and_delete)


def _is_active(run: Any) -> bool:
    """A run with a thread of its own deletes that at its end, and must not wait for itself."""
    return run["status"] in ACTIVE and not run["kwargs"].get("temporary", False)


_OPS = "langgraph_runtime_inmem.ops"
_DELETE = Shape(
    "conn thread_id ctx",
    """
    # Find the thread to delete
    for idx, thread in enumerate(thread_list):
        if thread["thread_id"] == thread_id:
            thread_idx = idx
            break
    """,
)

ONE_RUN_AT_A_TIME = Patch(
    name="one run of a thread at a time",
    module=_OPS,
    replaces={
        "Runs.enter": Shape(
            "run_id thread_id loop resumable",
            """
            async with SimpleTaskGroup(cancel=True, taskgroup_name="Runs.enter") as tg:
                done = ValueEvent()
                tg.create_task(
                    listen_for_cancellation(control_queue, run_id, thread_id, done)
                )

                # Give done event to caller
                yield done
            """,
        )
    },
    apply=_one_run_at_a_time,
    loss="a run begins while a cancelled one of its thread still writes, and may lose its answer; "
    "and a stopped answer is not in the thread for whoever reads it at once",
)
ONE_DELETION_AT_A_TIME = Patch(
    name="one deletion at a time",
    module=_OPS,
    replaces={"Threads.delete": _DELETE},
    apply=_one_deletion_at_a_time,
    loss="two threads deleted at once may take a third one with them",
)
RUNS_END_BEFORE_THEIR_THREAD = Patch(
    name="runs end before their thread is deleted",
    module=_OPS,
    replaces={"Threads.delete": _DELETE},
    needs=("Runs.cancel",),
    apply=_runs_end_before_their_thread,
    loss="a deleted thread's runs go on, and write into a thread that is gone",
)
