"""Two server processes share the work: whatever one of them began, the other knows."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest

from client import (
    AgentClient,
    Conflict,
    Interrupt,
    InvalidRequest,
    Limits,
    ModelFailed,
    Token,
    ToolResult,
)
from tests.model_server import Fault, ModelServer, Reply, ToolCall
from tests.relay import ByteCounter
from tests.runs import while_one_goes_on
from tests.scale.cluster import ROOT, Cluster, Process
from tests.scale.waiting import until_one_waits

TOKENS = tuple(f"{' ' if n else ''}word{n}" for n in range(100))
WORDS = "".join(TOKENS)
AT_ONCE = 50
SHARED = {"DATABASE_URI", "REDIS_URI"}


@pytest.fixture
async def first(cluster: Cluster) -> AsyncIterator[AgentClient]:
    async with AgentClient(cluster.processes[0].url) as agent:
        yield agent


@pytest.fixture
async def second(cluster: Cluster) -> AsyncIterator[AgentClient]:
    async with AgentClient(cluster.processes[1].url) as agent:
        yield agent


async def test_a_run_is_joined_through_the_other(
    first: AgentClient, second: AgentClient, model: ModelServer
) -> None:
    """Readers at both processes get every token of one run once."""
    model.on("To both.", Reply(TOKENS, tokens_per_second=100.0))
    heard: list[str] = []
    joined: asyncio.Task[str] | None = None
    async with first.stream("To both.") as run:
        async for event in run:
            if isinstance(event, Token):
                heard.append(event.content)
                if joined is None:
                    join = second.runs.join(str(run.thread_id), str(run.run_id)).text()
                    joined = asyncio.create_task(join)
    assert "".join(heard) == WORDS
    assert joined is not None
    assert await joined == WORDS


def redis_output_bytes(cluster: Cluster) -> int:
    """What Redis has sent so far."""
    asked = ["redis-cli", "-p", str(cluster.redis.port), "info", "stats"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return int(told.partition("total_net_output_bytes:")[2].split()[0])


async def test_a_resume_costs_what_was_missed(
    first: AgentClient, cluster: Cluster, model: ModelServer
) -> None:
    """A long run is joined at its end, through the other process: neither the client nor Redis
    moves what was read before."""
    model.on("Long.", Reply(tuple(f"word{n} " for n in range(20_000))))
    after_token = ""
    async with first.stream("Long.") as run:
        async for event in run:
            after_token = str(run.last_event_id) if isinstance(event, Token) else after_token
    url = cluster.processes[1].url
    async with ByteCounter(url) as counter, AgentClient(counter.url) as second:
        for last_event_id in (str(run.last_event_id), after_token):
            received, sent = counter.received, redis_output_bytes(cluster)
            joined = second.runs.join(str(run.thread_id), str(run.run_id), last_event_id)
            async with joined:
                events = [event async for event in joined]
            assert not [event for event in events if isinstance(event, Token)]
            assert counter.received - received <= 5_000
            assert redis_output_bytes(cluster) - sent < 50_000
        assert await joined.text() == await run.text()


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "events"])
async def test_every_mode(first: AgentClient, model: ModelServer, mode: str) -> None:
    """Text and tool calls are the same in each stream mode."""
    sum_of = ToolCall("calculate", {"expression": "17 * 23"})
    model.on(f"In {mode}.", Reply(tool_calls=(sum_of,)), Reply("It is 391."))
    run = first.stream(f"In {mode}.", modes=[mode])  # type: ignore[list-item]
    assert await run.text() == "It is 391."
    assert [call["args"] for call in run.tool_calls] == [{"expression": "17 * 23"}]


async def test_a_decision_is_made_through_the_other(
    first: AgentClient, second: AgentClient, model: ModelServer, cluster: Cluster
) -> None:
    """An interrupt of one process's run is decided at the other, and the tool runs once."""
    saving = ToolCall("save_note", {"title": "Decided", "text": "There."})
    model.on("Keep it.", Reply(tool_calls=(saving,)), Reply("Kept."))
    async with first.stream("Keep it.") as run:
        asked = [event async for event in run if isinstance(event, Interrupt)]
    rest = second.decide(str(run.thread_id), asked[0].id, [{"type": "approve"}])
    events = [event async for event in rest]
    assert [event.status for event in events if isinstance(event, ToolResult)] == ["ok"]
    assert await rest.text() == "Kept."
    assert len(list((cluster.folder / "notes").glob("decided*.md"))) == 1


async def test_a_run_is_stopped_through_the_other(
    first: AgentClient, second: AgentClient, model: ModelServer
) -> None:
    """What was said stays in the thread, marked; both readers hear of the stop."""
    model.on("Stop it.", Reply(TOKENS, tokens_per_second=4.0))
    async with first.stream("Stop it.") as run:
        async for event in run:
            if isinstance(event, Token):
                await second.runs.cancel(str(run.thread_id), str(run.run_id))
    assert run.done is not None
    assert run.done.status == "stopped"
    said = await second.threads.messages(str(run.thread_id))
    assert said[-1]["content"] == await run.text()
    assert said[-1]["response_metadata"]["finish_reason"] == "stopped"
    assert WORDS.startswith(said[-1]["content"])


async def test_a_failure_is_told_in_words(first: AgentClient, model: ModelServer) -> None:
    """What the model endpoint said reaches the reader of a process that hides it from its wire."""
    model.on("Fail.", Reply(fault=Fault(status=401)))
    with pytest.raises(ModelFailed, match="OPENAI_API_KEY"):
        await first.stream("Fail.").text()


@pytest.mark.timeout(300)
async def test_a_threads_stream_is_not_there(first: AgentClient) -> None:
    """Aegra has no streams of threads: the error says so, and what to do instead."""
    thread_id = await first.threads.create()
    with pytest.raises(InvalidRequest, match=r"no streams of threads.*runs\.join"):
        await anext(first.threads.join_stream(thread_id))


async def test_a_thread_goes_on_with_its_own_assistant(
    cluster: Cluster, first: AgentClient
) -> None:
    """A message without an assistant goes to that of the thread's last run."""
    answer = await first.ask("Hello.", assistant_id="chat")
    note = "import sys, client; a = client.SyncAgentClient(sys.argv[1]);"
    note += "print(a.ask('More.', thread_id=sys.argv[2]).run_id)"
    command = [sys.executable, "-c", note, cluster.processes[1].url, answer.thread_id]
    other = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    run_id = (await other.communicate())[0].decode().strip()
    runs = {run["run_id"]: run["assistant_id"] for run in await first.runs.list(answer.thread_id)}
    assert runs[run_id] == runs[answer.run_id]


async def test_fifty_messages_at_once(cluster: Cluster) -> None:
    """On one thread over both processes: they are answered one by one, and none is lost."""
    limits = Limits(first_event_seconds=None)
    async with (
        AgentClient(cluster.processes[0].url, limits=limits) as one,
        AgentClient(cluster.processes[1].url, limits=limits) as other,
    ):
        thread_id = await one.threads.create()
        questions = [f"Question {number}" for number in range(AT_ONCE)]
        asked = (
            agent.stream(question, thread_id=thread_id, multitask_strategy="enqueue").text()
            for question, agent in zip(questions, [one, other] * AT_ONCE, strict=False)
        )
        answers = await asyncio.gather(*asked)
        assert answers == [f"You said: {question}" for question in questions]
        said = [message["content"] for message in await one.threads.messages(thread_id)]
    assert sorted(said[::2]) == sorted(questions)
    assert said[1::2] == [f"You said: {question}" for question in said[::2]]


async def test_a_busy_thread_is_refused(cluster: Cluster, model: ModelServer) -> None:
    """Of many that will not wait, one is taken; the others are told, and leave no trace."""
    async with (
        AgentClient(cluster.processes[0].url) as one,
        AgentClient(cluster.processes[1].url) as other,
    ):
        thread_id = await one.threads.create()
        questions = [f"Only one, {number}" for number in range(20)]
        for question in questions:
            model.on(question, Reply("Taken.", first_token_seconds=100.0))
        asked = [
            agent.stream(question, thread_id=thread_id).text()
            for question, agent in zip(questions, [one, other] * 20, strict=False)
        ]
        ends = await while_one_goes_on(model, asked)
        told = Counter(type(end).__name__ if isinstance(end, Exception) else end for end in ends)
        assert told == {"Taken.": 1, Conflict.__name__: 19}
        assert len(await one.threads.messages(thread_id)) == 2


async def test_nothing_is_undone(
    first: AgentClient, second: AgentClient, model: ModelServer
) -> None:
    """`rollback`, which the engine does not have, is refused in words; the run goes on."""
    model.on("Leave it.", Reply(TOKENS, tokens_per_second=4.0))
    async with first.stream("Leave it.") as run:
        async for event in run:
            if isinstance(event, Token):
                break
        thread_id = str(run.thread_id)
        with pytest.raises(InvalidRequest, match="cannot undo"):
            await second.stream(
                "Instead.", thread_id=thread_id, multitask_strategy="rollback"
            ).text()
        body = {"assistant_id": "agent", "input": {}, "multitask_strategy": "rollback"}
        async with httpx.AsyncClient(base_url=second.url, timeout=60) as http:
            refused = await http.post(f"/threads/{thread_id}/runs", json=body)
        assert refused.status_code == 422
        assert "cannot undo" in refused.json()["detail"]
        model.hurry()
        assert await run.text() == WORDS
    assert len(await first.threads.messages(thread_id)) == 2


async def test_a_start_waits_for_no_run_that_waits_for_it(cluster: Cluster) -> None:
    """A process that starts installs the guard while the others' runs write."""
    uri, guard = cluster.postgres.uri, (ROOT / "agent" / "scale" / "guard.sql").read_bytes()
    async with (
        await psycopg.AsyncConnection.connect(uri) as run,
        await psycopg.AsyncConnection.connect(uri, autocommit=True) as start,
    ):
        await run.execute("UPDATE thread SET status = status WHERE false")
        installing = asyncio.create_task(start.execute(guard))
        await until_one_waits(uri)
        await run.execute("UPDATE runs SET status = status WHERE false")
        await run.commit()
        await installing


async def test_a_deleted_thread_leaves_nothing(cluster: Cluster, first: AgentClient) -> None:
    """What a run writes while its thread is being deleted is deleted, too."""
    run, uri = first.stream("Forget this."), cluster.postgres.uri
    await run.text()
    place = (str(run.thread_id),)
    async with await psycopg.AsyncConnection.connect(uri) as late:
        await late.execute("SELECT 1 FROM runs WHERE thread_id = %s FOR SHARE", place)
        deleting = asyncio.create_task(first.threads.delete(str(run.thread_id)))
        await until_one_waits(uri)
        await late.execute(
            "INSERT INTO checkpoints (thread_id, checkpoint_id, checkpoint) VALUES (%s, '1', '{}')",
            place,
        )
        await late.commit()
        await deleting
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes"):
            left = await late.execute(f"SELECT 1 FROM {table} WHERE thread_id = %s", place)  # noqa: S608
            assert await left.fetchone() is None


async def test_a_stale_worker_writes_nothing(cluster: Cluster, first: AgentClient) -> None:
    """Once its run is given to another, not even what was on the way at that moment is kept.

    Nor does one run that waits hold up the others.
    """
    run = first.stream("Whose?")
    await run.text()
    lines = await cluster.processes[0].output_of("tests.scale.stale_worker", str(run.run_id))
    assert lines[-3:] == ["kept refused refused"] * 3


async def test_messages_are_read_in_one_transaction(cluster: Cluster, first: AgentClient) -> None:
    """The checkpoints, and then their writes, for which LangGraph asks one after the other."""
    run = first.stream("What was said?")
    await run.text()
    lines = await cluster.processes[0].output_of("tests.scale.state_read", str(run.thread_id))
    assert lines[-1:] == ["checkpoints"]


async def test_a_stopped_run_ends_after_its_graph(cluster: Cluster) -> None:
    """Also where the stop comes while an event is written: the graph has saved what was said."""
    lines = await cluster.processes[0].output_of("tests.scale.stopped_run")
    assert lines[-2:] == ["_stream_legacy has ended", "_stream_native_v2 has ended"]


@pytest.mark.parametrize("given", ["DATABASE_URI", "REDIS_URI"])
async def test_what_is_shared_may_be_in_the_env_file(
    cluster: Cluster, tmp_path: Path, given: str
) -> None:
    """A process finds its storage there; where one of the two is missing, it says which."""
    known = cluster.processes[0].env
    env = {name: value for name, value in known.items() if name not in SHARED}
    process = Process(tmp_path, env)
    process.env["STEADY_ENV_FILE"] = ".env"
    (missing,) = SHARED - {given}
    (tmp_path / ".env").write_text(f"{given}={known[given]}\n")
    process.start()
    with pytest.raises(RuntimeError, match=f"Set {missing}, in the environment or in .env"):
        await process.ready()
    (tmp_path / ".env").write_text("".join(f"{name}={known[name]}\n" for name in SHARED))
    process.start()
    try:
        await process.ready()
    finally:
        await process.end(signal.SIGKILL)
