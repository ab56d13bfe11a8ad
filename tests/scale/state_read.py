"""Whether what a thread's messages are made of is read in one transaction.

    python -m tests.scale.state_read THREAD_ID        in the environment of `make scale`

The read's second statement waits for a lock. Prints the first one's table, if that is held, too.
"""

import asyncio
import os
import sys

import psycopg
from psycopg.rows import dict_row

from agent.scale import server  # noqa: F401 - it puts Aegra's parts together
from agent.scale.connections import Pool
from agent.scale.lease import LeasedSaver
from tests.scale.waiting import until_one_waits

HELD = """SELECT DISTINCT held.relation::regclass::text
          FROM pg_locks held JOIN pg_locks awaited USING (pid)
          WHERE held.granted AND NOT awaited.granted AND held.relation = 'checkpoints'::regclass"""


async def main(thread_id: str) -> None:
    uri = os.environ["DATABASE_URI"]
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with (
        Pool(uri, kwargs=kwargs, open=False) as pool,
        await psycopg.AsyncConnection.connect(uri, autocommit=True) as database,
    ):
        saver = LeasedSaver(pool)
        latest = await saver.aget_tuple({"configurable": {"thread_id": thread_id}})
        assert latest
        read = saver.aget_delta_channel_history(config=latest.config, channels=["messages"])
        async with database.transaction():
            await database.execute("LOCK TABLE checkpoint_writes")
            reading = asyncio.create_task(read)
            await until_one_waits(uri)
            print(*[name async for (name,) in await database.execute(HELD)])
        assert (await reading)["messages"]["writes"]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
