"""A server that is killed at any moment, and started again in the same folder."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from client import AgentClient, Interrupt
from client.local import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall

SAVED = Reply(tool_calls=(ToolCall("save_note", {"title": "Kept", "text": "Still here."}),))


@pytest.fixture
def mortal(model: ModelServer, tmp_path: Path) -> Iterator[LocalServer]:
    env = server_env(model.url, STEADY_NOTES_DIR=str(tmp_path / "notes"))
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=tmp_path) as running:
        yield running


@pytest.fixture
async def agent(mortal: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(mortal.url) as client:
        yield client


async def kill_and_start(server: LocalServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def test_a_decision_that_was_waited_for_is_made_after_it(
    agent: AgentClient, mortal: LocalServer, model: ModelServer, tmp_path: Path
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
    notes = [path.read_text() for path in (tmp_path / "notes").iterdir()]
    assert len(notes) == 1
    assert "Still here." in notes[0]


async def test_what_was_finished_is_there(agent: AgentClient, mortal: LocalServer) -> None:
    """Turns whose `done` was read are in the thread and in the list, and the next one goes on."""
    run = agent.stream("First.")
    await run.text()
    thread_id = str(run.thread_id)
    for question in ("Second.", "Third."):
        await agent.stream(question, thread_id=thread_id).text()
    await kill_and_start(mortal)
    listed = await agent.threads.list()
    assert [thread["thread_id"] for thread in listed] == [thread_id]
    await agent.stream("Fourth.", thread_id=thread_id).text()
    said = [message["content"] for message in await agent.threads.messages(thread_id)]
    assert said[::2] == ["First.", "Second.", "Third.", "Fourth."]
    assert said[1::2] == [f"You said: {question}" for question in said[::2]]
