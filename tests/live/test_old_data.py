"""What past versions wrote opens with the code of today, and goes on.

Each folder `tests/fixtures/data_*` was written by the version in its name; `make_data` makes them.
"""

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient, NotFound, Token, ToolResult
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.fixtures.make_data import read_facts
from tests.model_server import ModelServer

JSON = dict[str, Any]

FOLDERS = sorted((Path(__file__).parent.parent / "fixtures").glob("data_*"))


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def data(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


@pytest.fixture(scope="module")
def facts(data: Path) -> JSON:
    """What the server that wrote the data told of it."""
    return dict(json.loads((data / "facts.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the data, under the name that the server looks for."""
    copy = tmp_path_factory.mktemp(data.name)
    shutil.copytree(data / "langgraph_api", copy / ".langgraph_api")
    return copy


@pytest.fixture(scope="module")
def server(model: ModelServer, folder: Path) -> Iterator[LocalServer]:
    """A server of today on the old data."""
    env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"))
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
async def opened(server: LocalServer, facts: JSON) -> JSON:
    """What the server of today tells of the data, before any test here goes on with it."""
    async with AgentClient(server.url) as client:
        return await read_facts(client, facts["ids"])


@pytest.fixture
async def agent(server: LocalServer, opened: JSON) -> AsyncIterator[AgentClient]:
    async with AgentClient(server.url) as client:
        yield client


def in_the_fields_of(written: list[JSON], told: list[JSON]) -> list[JSON]:
    """The messages with no more fields than were written: a later version may tell more."""
    return [
        {name: message.get(name) for name in known}
        for message, known in zip(told, written, strict=True)
    ]


async def test_threads_are_listed(opened: JSON, facts: JSON) -> None:
    """Every thread is in the list with its status, and no other is."""
    assert opened["listed"] == facts["listed"]
    assert facts["threads"]["waiting"]["status"] == "interrupted"
    for name, thread in facts["threads"].items():
        assert opened["threads"][name]["status"] == thread["status"]
        assert opened["threads"][name]["metadata"].items() >= thread["metadata"].items()


async def test_messages_are_as_they_were(opened: JSON, facts: JSON) -> None:
    """Each thread has the messages it had: texts, ids, calls, results and finish reasons."""
    for name, thread in facts["threads"].items():
        told = opened["threads"][name]["messages"]
        assert in_the_fields_of(thread["messages"], told) == thread["messages"]


async def test_history_is_as_it_was(opened: JSON, facts: JSON) -> None:
    """Each thread has the checkpoints it had, in their order."""
    for name, thread in facts["threads"].items():
        assert opened["threads"][name]["checkpoints"] == thread["checkpoints"]


async def test_a_stopped_answer_is_still_marked(opened: JSON) -> None:
    """The partial text is there, marked stopped, and the call that nobody decided has its error."""
    _, partial, _, asking, closed, *_ = opened["threads"]["stopped"]["messages"]
    assert partial["content"].startswith("word0 word1")
    assert partial["response_metadata"]["finish_reason"] == "stopped"
    assert closed["tool_call_id"] == asking["tool_calls"][0]["id"]
    assert closed["status"] == "error"


@pytest.mark.parametrize("name", ["with_tools", "stopped", "of_assistant"])
async def test_a_thread_goes_on(
    agent: AgentClient, model: ModelServer, facts: JSON, name: str
) -> None:
    """A further turn is sent all that was said, and streams what it adds to the state."""
    thread_id, before = facts["ids"]["threads"][name], facts["threads"][name]
    async with agent.stream("stream 40 tokens", thread_id=thread_id) as run:
        tokens = [event async for event in run if isinstance(event, Token)]
    *earlier, _, answer = await agent.threads.messages(thread_id)
    assert in_the_fields_of(before["messages"], earlier) == before["messages"]
    assert {token.message_id for token in tokens} == {answer["id"]}
    assert "".join(token.content for token in tokens) == answer["content"]
    assert answer["content"].endswith("word39")
    sent = [message.get("content") or "" for message in model.requests[-1]["messages"][1:]]
    assert sent == [*(message["content"] for message in before["messages"]), "stream 40 tokens"]
    history = await agent.threads.history(thread_id, limit=100)
    checkpoints = [state["checkpoint"]["checkpoint_id"] for state in history]
    assert checkpoints[-len(before["checkpoints"]) :] == before["checkpoints"]


async def test_what_waits_is_approved(agent: AgentClient, facts: JSON, folder: Path) -> None:
    """The approval goes on with the run: the tool is carried out once, and the answer follows."""
    thread_id = facts["ids"]["threads"]["waiting"]
    (asked,) = facts["threads"]["waiting"]["interrupts"]
    (note,) = [action["args"] for action in asked["requests"]["action_requests"]]
    (waiting,) = await agent.threads.interrupts(thread_id)
    assert (waiting.id, waiting.requests) == (asked["id"], asked["requests"])
    async with agent.decide(thread_id, waiting.id, [{"type": "approve"}]) as run:
        results = [event async for event in run if isinstance(event, ToolResult)]
        assert await run.text() == "The tool is done."
    assert [result.status for result in results] == ["ok"]
    (saved,) = (folder / "notes").iterdir()
    assert note["text"] in saved.read_text()
    with pytest.raises(NotFound):
        await agent.decide(thread_id, waiting.id, [{"type": "approve"}]).text()
    assert len(list((folder / "notes").iterdir())) == 1


async def test_the_old_branch_is_there(agent: AgentClient, opened: JSON, facts: JSON) -> None:
    """The branch that was left is read by its checkpoint, and may be gone on with."""
    thread_id, end = facts["ids"]["threads"]["branched"], facts["ids"]["old_branch_end"]
    assert in_the_fields_of(facts["old_branch"], opened["old_branch"]) == facts["old_branch"]
    present = opened["threads"]["branched"]["messages"]
    assert present[-1]["content"] != facts["old_branch"][-1]["content"]
    run = agent.stream("Back here.", thread_id=thread_id, checkpoint_id=end)
    assert await run.text() == "You said: Back here."
    *earlier, _, _ = await agent.threads.messages(thread_id)
    assert in_the_fields_of(facts["old_branch"], earlier) == facts["old_branch"]


async def test_memories_are_there(agent: AgentClient, opened: JSON, facts: JSON) -> None:
    """What was remembered is listed, and the agent recalls it."""
    assert facts["memories"]
    assert opened["memories"] == facts["memories"]
    async with agent.stream('call recall {"about": "anything"}') as run:
        (recalled,) = [event.content async for event in run if isinstance(event, ToolResult)]
    for memory in facts["memories"]:
        assert memory["text"] in recalled


async def test_the_assistant_runs(
    agent: AgentClient, model: ModelServer, opened: JSON, facts: JSON
) -> None:
    """An assistant that a person made is as it was, and its runs have its context."""
    assert opened["assistant"].items() >= facts["assistant"].items()
    run = agent.stream("Hello.", assistant_id=facts["ids"]["assistant"])
    assert await run.text() == "You said: Hello."
    context, request = facts["assistant"]["context"], model.requests[-1]
    assert request["messages"][0]["content"] == context["system_prompt"]
    assert request["temperature"] == context["temperature"]
