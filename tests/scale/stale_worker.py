"""What a worker of this run writes before and after the run is given to another one.

    python -m tests.scale.stale_worker RUN_ID        in the environment of `make scale`

Prints, for a checkpoint, for a step's writes and for the run's end, `kept` or `refused`: while the
run is this worker's; when another worker's claim is being committed at that moment; and afterwards.
While the second waits, a checkpoint of no run is written.
"""

import asyncio
import contextvars
import os
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from langgraph.checkpoint.base import empty_checkpoint
from psycopg.rows import dict_row

from agent.scale import server  # noqa: F401 - it puts Aegra's parts together
from agent.scale.connections import Pool
from agent.scale.lease import LeasedSaver, Run, claim, get_session_maker, run_executor
from agent.scale.process import db_manager
from tests.scale.waiting import until_one_waits

ROWS = " UNION ALL ".join(
    f"SELECT 1 FROM {table} WHERE thread_id = 'stale'"  # noqa: S608
    for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
)
ENDED = " UNION ALL SELECT 1 FROM runs WHERE run_id = %s AND status = 'success'"
GIVE = """UPDATE runs SET claimed_by = %s, status = 'running', lease_expires_at = NULL
          WHERE run_id = %s"""  # without a lease, that nobody else takes it up
PLACE = {"thread_id": "stale", "checkpoint_ns": ""}
Put = Callable[[LeasedSaver], Awaitable[Any]]


async def main(run_id: str) -> None:
    uri = os.environ["DATABASE_URI"]
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    claim.set((run_id, "ours"))
    async with (
        Pool(uri, kwargs=kwargs, open=False) as pool,
        await psycopg.AsyncConnection.connect(uri, autocommit=True) as database,
    ):
        saver = LeasedSaver(pool)
        await db_manager.initialize()
        for put in (checkpoint, writes, end):
            await give(database, run_id, "ours")
            told = [await outcome(saver, put)]
            await give(database, run_id, "ours")
            async with database.transaction():
                await give(database, run_id, "another's")
                writing = asyncio.create_task(outcome(saver, put))
                await until_one_waits(uri)
                await asyncio.create_task(another_runs(saver), context=contextvars.Context())
            told += [await writing, await outcome(saver, put)]
            print(*told)


async def give(database: psycopg.AsyncConnection, run_id: str, name: str) -> None:
    await database.execute(GIVE, (name, run_id))


async def outcome(saver: LeasedSaver, put: Put) -> str:
    """What became of it, as the database tells."""
    before = await rows(saver)
    try:
        await put(saver)
    except asyncio.CancelledError:
        return "refused" if await rows(saver) == before else "kept in silence"
    return "kept" if await rows(saver) > before else "lost"


async def rows(saver: LeasedSaver) -> int:
    async with saver._cursor() as cursor:
        await cursor.execute(ROWS + ENDED, (run_of_claim(),))
        return len(await cursor.fetchall())


async def checkpoint(saver: LeasedSaver) -> None:
    made = {**empty_checkpoint(), "channel_values": {"messages": ["late"]}}
    told = {"source": "loop", "step": 0, "parents": {}}
    await saver.aput({"configurable": PLACE}, made, told, {"messages": made["id"]})


async def another_runs(saver: LeasedSaver) -> None:
    async with asyncio.timeout(10):
        place = {"thread_id": "another", "checkpoint_ns": ""}
        await saver.aput({"configurable": place}, empty_checkpoint(), {"source": "input"}, {})


async def writes(saver: LeasedSaver) -> None:
    place = {"configurable": {**PLACE, "checkpoint_id": "here"}}
    await saver.aput_writes(place, [("messages", "late")], str(uuid.uuid4()))


async def end(saver: LeasedSaver) -> None:
    async with get_session_maker()() as session:
        run = await session.get_one(Run, run_of_claim())
    whose = {"thread_id": run.thread_id, "user_id": run.user_id}
    told = {"status": "success", "thread_status": "idle"}
    await run_executor.finalize_run(run.run_id, **whose, **told)


def run_of_claim() -> str:
    return str(claim.get()[0])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
