"""`langgraph dev` with our patches of it, and without."""

import asyncio
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from agent.dev_server import PATCHES
from client import AgentClient, Mode, RunStarted
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.live.test_modes import MODES, QUESTION, result
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def unpatched(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """The same server with every patch off."""
    env = server_env(model.url, STEADY_DEV_PATCHES="false")
    folder = tmp_path_factory.mktemp("unpatched")
    with LocalServer(find_config(ROOT), env=env, folder=folder) as running:
        yield running


def test_all_patches_are_applied_and_logged(server: LocalServer) -> None:
    """A server of this project names each patch in its log, and how many jobs it runs."""
    log = server.log.read_text()
    assert [patch.name for patch in PATCHES if patch.name not in log] == []
    assert "is skipped" not in log
    assert "up to 10 jobs" in log


def test_a_server_without_patches_says_what_it_lost(unpatched: LocalServer) -> None:
    """With STEADY_DEV_PATCHES=false the server starts, and names each patch and the loss."""
    log = unpatched.log.read_text()
    assert "STEADY_DEV_PATCHES=false" in log
    assert [patch.name for patch in PATCHES if patch.loss not in log] == []


@pytest.mark.parametrize("mode", MODES)
async def test_streams_keep_their_contract_without_patches(
    unpatched: LocalServer, model: ModelServer, mode: Mode
) -> None:
    """Unpatched, text and tool calls are the same in every mode, and the stream has one end."""
    model.on(
        QUESTION,
        Reply("Let me see.", tool_calls=[Call("calculate", {"expression": "6 * 7"})]),
        Reply("It is 42. \U0001f389\nReally."),
    )
    async with AgentClient(unpatched.url) as agent:
        assert await result(agent, (mode,)) == (
            "It is 42. \U0001f389\nReally.",
            [("calculate", {"expression": "6 * 7"})],
            "success",
        )


async def start_ms(url: str, runs: int) -> list[int]:
    """How long each of some runs waited for its first event."""
    waits = list[int]()
    async with AgentClient(url) as agent:
        for _ in range(runs + 1):
            async with agent.stream("unpatched") as run:
                async for event in run:
                    if isinstance(event, RunStarted):
                        waits.append(run.elapsed_ms)
                assert await run.text() == "You said: unpatched"
    return waits[1:]  # the first warms up


async def test_the_queue_is_still_worth_its_patch(
    server: LocalServer, unpatched: LocalServer
) -> None:
    """Unpatched, a run waits for the next look; when it no longer does, upstream has mended it."""
    measured = []
    for _ in range(4):  # a busy machine may slow either
        plain, patched = await start_ms(unpatched.url, 8), await start_ms(server.url, 8)
        measured.append((plain, patched))
        if statistics.median(plain) > 2 * statistics.median(patched):
            break
    else:
        pytest.fail(f"{measured}")


async def test_a_busy_thread_holds_up_nobody_else(agent: AgentClient, model: ModelServer) -> None:
    """With twelve runs behind one slow run of a thread, another thread's run starts at once."""
    model.on("take your time", Reply("slow", first_token_seconds=100.0))
    thread = await agent.threads.create()
    slow = await agent.sdk.runs.create(
        thread, "agent", input={"messages": [{"role": "user", "content": "take your time"}]}
    )
    for _ in range(12):
        await agent.sdk.runs.create(
            thread,
            "agent",
            input={"messages": [{"role": "user", "content": "and then?"}]},
            multitask_strategy="enqueue",
        )
    try:
        async with asyncio.timeout(60), agent.stream("Who is next?") as run:
            assert await run.text() == "You said: Who is next?"
    finally:
        await agent.threads.delete(thread)
    assert slow["run_id"]


async def test_threads_deleted_at_once_leave_the_others(agent: AgentClient) -> None:
    """Every second of twenty threads is deleted at once: the others are all still there."""
    ids = [await agent.threads.create() for _ in range(20)]
    await asyncio.gather(*(agent.threads.delete(at) for at in ids[::2]))
    kept = [await agent.threads.get(at) for at in ids[1::2]]
    assert [str(thread["thread_id"]) for thread in kept] == ids[1::2]


async def test_a_cron_with_an_end_comes_as_others_do(agent: AgentClient) -> None:
    """A cron with an `end_time` is carried out, and so is one that was made after it."""
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    question = {"messages": [{"role": "user", "content": "by cron"}]}
    crons = []
    async with httpx.AsyncClient(base_url=agent.url, timeout=60) as http:
        for more in ({"end_time": end}, {}):
            body = {"assistant_id": "agent", "schedule": "* * * * * *", "input": question}
            thread = await agent.threads.create()
            made = await http.post(f"/threads/{thread}/runs/crons", json={**body, **more})
            assert made.status_code == 200
            crons.append((made.json()["cron_id"], thread))
        try:
            async with asyncio.timeout(60):
                for _, thread in crons:
                    while not await agent.sdk.runs.list(thread):  # noqa: ASYNC110 - of a server
                        await asyncio.sleep(0.2)
        finally:
            for cron_id, _ in crons:
                await http.delete(f"/runs/crons/{cron_id}")


@pytest.mark.parametrize(
    "change",
    [{"schedule": "0 0 30 2 *"}, {"end_time": "soon"}, {"timezone": "America"}],
    ids=str,
)
async def test_a_cron_that_never_comes_is_refused(
    agent: AgentClient, change: dict[str, str]
) -> None:
    """Creating and changing answer 422, with one sentence, and store nothing."""
    body = {"assistant_id": "agent", "schedule": "0 0 1 1 *", "input": {}}
    async with httpx.AsyncClient(base_url=agent.url, timeout=60) as http:
        refused = await http.post("/runs/crons", json={**body, **change})
        assert refused.status_code == 422
        made = (await http.post("/runs/crons", json=body)).json()
        refused = await http.patch(f"/runs/crons/{made['cron_id']}", json=change)
        assert refused.status_code == 422
        stored = (await http.get(f"/runs/crons/{made['cron_id']}")).json()
        await http.delete(f"/runs/crons/{made['cron_id']}")
    same = ("schedule", "end_time", "timezone", "next_run_date")
    assert {key: stored[key] for key in same} == {key: made[key] for key in same}


@pytest.mark.parametrize("delay", [-1, -0.5, 1e18, 10**30, "soon", [], True])
async def test_an_odd_delay_of_a_run_is_refused(agent: AgentClient, delay: object) -> None:
    """`after_seconds` below zero would jump the queue; it and all odd values are 422."""
    thread = await agent.threads.create()
    body = {"assistant_id": "agent", "input": {}, "after_seconds": delay}
    async with httpx.AsyncClient(base_url=agent.url, timeout=60) as http:
        refused = await http.post(f"/threads/{thread}/runs", json=body)
        assert refused.status_code == 422
        assert (await http.get(f"/threads/{thread}/runs")).json() == []


async def test_the_health_check_tells_whether_the_lists_are_written(server: LocalServer) -> None:
    """`/ok` runs the check of the lists, and says so."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        health = (await http.get("/ok")).json()
    assert health == {"ok": True, "services": {"lists": "healthy"}}
