"""A server that is killed at any moment, and started again in the same folder."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from client import (
    AgentClient,
    Done,
    Interrupt,
    InvalidRequest,
    NotFound,
    Retry,
    Run,
    RunLost,
    RunStarted,
    Token,
    ToolResult,
)
from client.cli.local_server import LocalServer, find_config
from client.events import AgentEvent
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall
from tests.users import socket_url

TOKENS = tuple(f"{' ' if n else ''}word{n}" for n in range(60))
WORDS = "".join(TOKENS)
SLOW, QUICK = Reply(TOKENS, tokens_per_second=4.0), Reply(TOKENS)  # before the kill, and after
SAVED = Reply(tool_calls=(ToolCall("save_note", {"title": "Kept", "text": "Still here."}),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mortal")


@pytest.fixture(scope="module")
def running(model: ModelServer, folder: Path) -> Iterator[LocalServer]:
    env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"))
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as server:
        yield server


@pytest.fixture
def mortal(running: LocalServer) -> LocalServer:
    """The server that all tests here kill; one of them may have left it dead."""
    if running.process is None:
        running.start()
    return running


@pytest.fixture
def notes(folder: Path) -> Path:
    """Where notes are saved; none is there yet."""
    shutil.rmtree(folder / "notes", ignore_errors=True)
    return folder / "notes"


@pytest.fixture
async def agent(mortal: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(mortal.url) as client:
        yield client


def saved(notes: Path) -> list[str]:
    return [path.read_text() for path in notes.iterdir()]


async def kill_and_start(server: LocalServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def test_a_decision_that_was_waited_for_is_made_after_it(
    agent: AgentClient, mortal: LocalServer, model: ModelServer, notes: Path
) -> None:
    """An interrupt is seen and decided at the next server, and the tool runs once."""
    model.on("Keep this.", SAVED, Reply("Kept it."))
    async with agent.stream("Keep this.") as run:
        asked = [event async for event in run if isinstance(event, Interrupt)]
    await kill_and_start(mortal)
    (waiting,) = await agent.threads.interrupts(str(run.thread_id))
    assert [waiting] == asked
    rest = agent.decide(str(run.thread_id), waiting.id, [{"type": "approve"}])
    assert await rest.text() == "Kept it."
    (note,) = saved(notes)
    assert "Still here." in note


async def test_what_was_finished_is_there(agent: AgentClient, mortal: LocalServer) -> None:
    """Turns whose `done` was read are in the thread and in the list, and the next one goes on."""
    run = agent.stream("First.")
    await run.text()
    thread_id = str(run.thread_id)
    for question in ("Second.", "Third."):
        await agent.stream(question, thread_id=thread_id).text()
    await kill_and_start(mortal)
    assert (await listed(agent)).count(thread_id) == 1
    await agent.stream("Fourth.", thread_id=thread_id).text()
    said = [message["content"] for message in await agent.threads.messages(thread_id)]
    assert said[::2] == ["First.", "Second.", "Third.", "Fourth."]
    assert said[1::2] == [f"You said: {question}" for question in said[::2]]


async def test_what_was_deleted_stays_deleted(
    agent: AgentClient, mortal: LocalServer, folder: Path
) -> None:
    """A thread's words and its row are gone, though the server's file had them to the last.

    A thread on which nobody spoke lives, and so does one that was made again under its old id.
    """
    run, other = agent.stream("Forget this."), agent.stream("Replace this.")
    await asyncio.gather(run.text(), other.text())
    gone, anew = str(run.thread_id), str(other.thread_id)
    new = await agent.threads.create({"topic": "herons"})
    await asyncio.to_thread(mortal.stop)  # it writes its file
    file = folder / ".langgraph_api" / ".langgraph_ops.pckl"
    written = file.read_bytes()
    assert b"Forget this." in written
    await asyncio.to_thread(mortal.start)
    await agent.threads.delete(gone)
    await agent.threads.delete(anew)
    await agent.sdk.threads.create(thread_id=anew)
    await agent.stream("New words.", thread_id=anew).text()
    for _ in range(2):  # the next server may be killed as soon
        await asyncio.to_thread(mortal.kill)
        file.write_bytes(written)  # as if killed before the next time
        await asyncio.to_thread(mortal.start)
        with pytest.raises(NotFound):
            await agent.threads.get(gone)
        assert (await agent.threads.get(new))["metadata"]["topic"] == "herons"
        assert await said(agent, anew) == ["New words.", "You said: New words."]
        assert gone not in await listed(agent)


async def test_a_thread_deleted_during_its_run_stays_deleted(
    agent: AgentClient, mortal: LocalServer, model: ModelServer
) -> None:
    """The run is stopped first, so that it writes nothing more which a start would find."""
    model.on("Tell me at length.", SLOW)
    run, _ = await half_an_answer(agent, "Tell me at length.", 3)
    await agent.threads.delete(str(run.thread_id))
    with pytest.raises(RunLost):
        await run.text()
    await asyncio.to_thread(mortal.stop)
    await asyncio.to_thread(mortal.start)
    assert str(run.thread_id) not in await listed(agent)


async def listed(agent: AgentClient) -> list[str]:
    return [thread["thread_id"] for thread in await agent.threads.list(limit=100)]


async def half_an_answer(
    agent: AgentClient, question: str, tokens: int, **options: Any
) -> tuple[Run, list[AgentEvent]]:
    """A run, left open, of which this many tokens' events have been read; and the events."""
    run = agent.stream(question, **options)
    read: list[AgentEvent] = []
    async for event in run:
        read.append(event)
        if sum(isinstance(each, Token) for each in read) == tokens:
            break
    return run, read


async def test_a_lost_run_is_told_and_can_go_on(
    agent: AgentClient, mortal: LocalServer, model: ModelServer
) -> None:
    """The reader gets RunLost with the partial text; `resume` then gives the whole answer, once."""
    model.on("Tell me.", SLOW)
    run, read = await half_an_answer(agent, "Tell me.", 3)
    model.on("Tell me.", QUICK, QUICK)
    await kill_and_start(mortal)
    with pytest.raises(RunLost) as lost:
        await run.text()
    assert WORDS.startswith(lost.value.text)
    assert "".join(e.content for e in read if isinstance(e, Token)) in lost.value.text
    thread_id = str(run.thread_id)
    assert await agent.continue_run(thread_id).text() == WORDS
    assert await said(agent, thread_id) == ["Tell me.", WORDS]
    with pytest.raises(InvalidRequest, match="nothing to continue"):
        await agent.continue_run(thread_id).text()


async def test_a_run_goes_on_by_itself_where_it_is_asked_to(
    agent: AgentClient, mortal: LocalServer, model: ModelServer
) -> None:
    """One stream over the server's death: a `retry` for what was begun, then the whole answer."""
    model.on("Tell me all.", SLOW)
    run, events = await half_an_answer(agent, "Tell me all.", 3, restart_lost_run=True)
    model.on("Tell me all.", QUICK, QUICK)
    await kill_and_start(mortal)
    events += [event async for event in run]
    assert kept(events) == WORDS
    assert [type(e).__name__ for e in events].count("Retry") == 1
    assert [e.attempt for e in events if isinstance(e, RunStarted)] == [1, 2]
    assert isinstance(events[-1], Done)
    assert await said(agent, str(run.thread_id)) == ["Tell me all.", WORDS]


async def test_the_routes_tell_of_a_lost_run(
    agent: AgentClient, mortal: LocalServer, model: ModelServer
) -> None:
    """A reader that comes back gets 410 `run_lost`; a `resume` frame, or the route, goes on."""
    model.on("Over SSE.", SLOW)
    run, _ = await half_an_answer(agent, "Over SSE.", 3)
    model.on("Over SSE.", QUICK, QUICK)
    place = f"{run.thread_id}/{run.run_id}/{run.last_event_id}"
    await kill_and_start(mortal)
    body = {"thread_id": run.thread_id}
    async with httpx.AsyncClient(base_url=mortal.url, timeout=60) as http:
        joined = await http.get(
            f"/agent/stream/{run.thread_id}/{run.run_id}", headers={"Last-Event-ID": place}
        )
        assert (joined.status_code, joined.json()["code"]) == (410, "run_lost")
        url = socket_url(mortal, f"/ws/chat?thread_id={run.thread_id}")
        async with connect(url, subprotocols=[Subprotocol("steady.v1")], open_timeout=60) as socket:
            await socket.send('{"type": "continue_run"}')
            heard = [json.loads(await socket.recv())]
            while heard[-1]["type"] != "done":
                heard.append(json.loads(await socket.recv()))
        assert "".join(e["content"] for e in heard if e["type"] == "token") == WORDS
        again = await http.post("/agent/continue_run", json=body)
        assert (again.status_code, again.json()["code"]) == (422, "invalid_request")


async def test_an_effect_is_not_repeated_in_silence(
    agent: AgentClient, mortal: LocalServer, model: ModelServer, notes: Path
) -> None:
    """Killed when the note is there: the run goes on, and its result is kept; each stream tells it
    once at most.

    One that was kept just before the server died may be told by neither, or, under its one id, by
    both: the server does not know what the first one's reader still got.
    """
    model.on("Note it.", SAVED, SLOW)
    async with agent.stream("Note it.") as run:
        asked = [event async for event in run if isinstance(event, Interrupt)]
    thread_id = str(run.thread_id)
    rest = agent.decide(thread_id, asked[0].id, [{"type": "approve"}])
    before: list[AgentEvent] = []
    after: list[AgentEvent] = []
    reading = asyncio.create_task(read_into(before, rest))
    await asyncio.to_thread(kill_when, mortal, lambda: notes.is_dir() and any(notes.iterdir()))
    model.on("Note it.", SAVED, Reply("I see."), Reply("I see."))
    await asyncio.to_thread(mortal.start)
    with pytest.raises(RunLost):
        await reading
    await read_into(after, agent.continue_run(thread_id))
    told = [[e for e in events if isinstance(e, ToolResult)] for events in (before, after)]
    results = [result for each in told for result in each]
    assert len(saved(notes)) == 1
    assert all(len(each) <= 1 for each in told)
    assert len({result.id for result in results}) <= 1
    [kept] = [m for m in await agent.threads.messages(thread_id) if m["type"] == "tool"]
    assert kept["status"] == "success" or "may or may not have taken effect" in kept["content"]
    assert all(result.content == kept["content"] for result in results)


async def read_into(events: list[AgentEvent], run: Run) -> None:
    async for event in run:
        events.append(event)


def kill_when(server: LocalServer, happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.0005)
    server.kill()


def kept(events: list[AgentEvent]) -> str:
    """The text of the tokens, without what a `retry` discards."""
    text: dict[str, str] = {}
    for event in events:
        match event:
            case Token(content=content, message_id=at):
                text[at] = text.get(at, "") + content
            case Retry(message_id=at):
                text.pop(at, None)
    return "".join(text.values())


async def said(agent: AgentClient, thread_id: str) -> list[str]:
    return [message["content"] for message in await agent.threads.messages(thread_id)]
