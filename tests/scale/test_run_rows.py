"""The statements that create and end a run, where others come between."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.scale.cluster import Cluster, Process
from tests.scale.waiting import until_one_waits

CREATE = """SELECT is_begun FROM steady_create_run(
    %s, %s, %s, NULL, NULL, '{}', '', '{}', '{}', '{}', '{}', %s, NULL)"""
END = "SELECT steady_end_run(%s, %s, %s, %s, 'success', 'idle', NULL, NULL)"
OWNER = "of-the-statements"


@pytest.fixture
async def database(cluster: Cluster) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection whose statements are transactions of their own."""
    uri = cluster.postgres.uri
    async with await psycopg.AsyncConnection.connect(uri, autocommit=True) as connected:
        yield connected


async def create(on: psycopg.AsyncConnection, run: str, thread: str, owner: str = OWNER) -> bool:
    """Whether the run is begun, too."""
    return bool(await one(on, CREATE, run, thread, owner, f"claim of {run}"))


async def end(on: psycopg.AsyncConnection, run: str, thread: str, claim: str) -> bool:
    """Whether the run is ended."""
    return bool(await one(on, END, run, thread, OWNER, claim))


async def one(on: psycopg.AsyncConnection, statement: str, *parameters: Any) -> Any:
    row = await (await on.execute(statement, parameters)).fetchone()
    return row and row[0]


async def test_a_run_that_is_created_as_the_last_one_ends(
    cluster: Cluster, database: psycopg.AsyncConnection
) -> None:
    """It is told of: the end waits for it, as it has seen that the other still ran."""
    first, second, thread = (str(uuid.uuid4()) for _ in range(3))
    uri = cluster.postgres.uri
    async with (
        await psycopg.AsyncConnection.connect(uri) as creating,
        await psycopg.AsyncConnection.connect(uri, autocommit=True) as listening,
    ):
        assert await create(database, first, thread)
        await listening.execute("LISTEN steady_runs")
        assert not await create(creating, second, thread)
        ending = asyncio.create_task(end(database, first, thread, f"claim of {first}"))
        await until_one_waits(uri)
        await creating.commit()
        assert await ending
        notices = listening.notifies(timeout=20.0, stop_after=1)
        assert [notice.payload async for notice in notices] == [second]
        await database.execute("DELETE FROM thread WHERE thread_id = %s", (thread,))


async def test_an_end_is_said_again(database: psycopg.AsyncConnection) -> None:
    """By the worker that did not hear the answer it is, by another one it is not."""
    run, thread = str(uuid.uuid4()), str(uuid.uuid4())
    assert await create(database, run, thread)
    for claim, is_ended in ((f"claim of {run}", True),) * 2 + (("another", False),):
        assert await end(database, run, thread, claim) is is_ended
    status = "SELECT status FROM thread WHERE thread_id = %s"
    assert await one(database, status, thread) == "idle"


async def test_a_creation_is_said_again(database: psycopg.AsyncConnection) -> None:
    """It is the same run, begun or not as it was."""
    runs, thread = [str(uuid.uuid4()) for _ in range(2)], str(uuid.uuid4())
    for run, is_begun in zip(runs, (True, False), strict=True):
        assert [await create(database, run, thread) for _ in range(2)] == [is_begun] * 2
    count = "SELECT count(*) FROM runs WHERE thread_id = %s"
    assert await one(database, count, thread) == 2
    await database.execute("DELETE FROM thread WHERE thread_id = %s", (thread,))


async def test_a_run_is_created_when_the_database_is_back(cluster: Cluster) -> None:
    """At once, though all connections that were used a moment ago have broken."""
    body = {"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": "Hi."}]}}

    async def ask(process: Process) -> int:
        path = f"/threads/{uuid.uuid4()}/runs/stream"
        return (await http.post(f"{process.url}{path}", json=body)).status_code

    async with httpx.AsyncClient(timeout=60.0, trust_env=False) as http:
        warm = [ask(process) for process in cluster.processes for _ in range(4)]
        assert set(await asyncio.gather(*warm)) == {200}
        await asyncio.to_thread(cluster.postgres.restart)
        asked = [ask(process) for process in cluster.processes]
        assert set(await asyncio.gather(*asked)) == {200}


async def test_another_users_thread_gets_no_run(database: psycopg.AsyncConnection) -> None:
    """The statement that creates a run refuses, and leaves the thread as it was."""
    run, thread = str(uuid.uuid4()), str(uuid.uuid4())
    assert await create(database, run, thread)
    with pytest.raises(psycopg.DatabaseError, match="another user's") as refused:
        await create(database, str(uuid.uuid4()), thread, "somebody-else")
    assert refused.value.sqlstate == "SY404"
    runs = "SELECT count(*) FROM runs WHERE thread_id = %s"
    assert await one(database, runs, thread) == 1
    await end(database, run, thread, f"claim of {run}")
