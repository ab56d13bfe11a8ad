"""Messages of one thread, when its processes are slow: each is asked and answered once."""

import asyncio

import psycopg

from client import AgentClient, Limits
from tests.scale.cluster import Cluster
from tests.scale.waiting import until_one_waits


async def test_a_request_whose_answer_is_late_starts_one_run(cluster: Cluster) -> None:
    """The client sends it again before the first has arrived: the thread is asked once."""
    uri, limits = cluster.postgres.uri, Limits(heartbeat_timeout_seconds=1.0)
    async with (
        AgentClient(cluster.processes[0].url, limits=limits) as hasty,
        AgentClient(cluster.processes[1].url) as other,
        await psycopg.AsyncConnection.connect(uri) as busy,
    ):
        thread_id = await other.threads.create()
        await busy.execute("SELECT 1 FROM thread WHERE thread_id = %s FOR UPDATE", (thread_id,))
        hastily = hasty.stream("Once.", thread_id=thread_id, multitask_strategy="enqueue")
        once = asyncio.create_task(hastily.text())
        await until_one_waits(uri, count=2)
        await busy.commit()
        assert await once == "You said: Once."
        assert len(await other.runs.list(thread_id)) == 1
        said = [message["content"] for message in await other.threads.messages(thread_id)]
        assert said == ["Once.", "You said: Once."]
