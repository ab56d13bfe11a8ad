"""What the agent remembers of a person, from one thread to the next."""

from collections.abc import AsyncIterator

import pytest

from client import AgentClient, NotFound, ToolResult
from client.cli.local_server import LocalServer
from tests.live.test_cli import steady
from tests.model_server import ModelServer, Reply, ToolCall


@pytest.fixture(autouse=True)
async def blank(agent: AgentClient) -> AsyncIterator[None]:
    yield
    await agent.memories.forget_all()


async def use(agent: AgentClient, model: ModelServer, *calls: ToolCall) -> list[str]:
    """What the tools answer in a thread of their own."""
    question = f"Use {calls}"
    model.on(question, Reply(tool_calls=calls), Reply("Done."))
    async with agent.stream(question) as run:
        return [event.content async for event in run if isinstance(event, ToolResult)]


def remember(fact: str) -> ToolCall:
    return ToolCall("remember", {"fact": fact})


def recall(about: str) -> ToolCall:
    return ToolCall("recall", {"about": about})


async def test_another_thread_recalls_it(agent: AgentClient, model: ModelServer) -> None:
    """What was remembered in one thread is recalled in another, the fitting first."""
    assert await use(agent, model, remember("Has a dog called Ada.")) == ["Remembered."]
    await use(agent, model, remember("Lives in Lisbon."))
    (found,) = await use(agent, model, recall("the dog's name"))
    assert found.splitlines()[0] == "- Has a dog called Ada."
    assert "Lisbon" in found


async def test_nothing_remembered_is_said(agent: AgentClient, model: ModelServer) -> None:
    """An empty memory is an answer, not an error."""
    assert await use(agent, model, recall("anything")) == ["Nothing is remembered yet."]


async def test_the_same_fact_is_kept_once(agent: AgentClient, model: ModelServer) -> None:
    """Remembering again, in other capitals and spaces, keeps one memory."""
    await use(agent, model, remember("Likes tea."), remember("likes  TEA."))
    assert [memory.text.casefold() for memory in await agent.memories.list()] == ["likes tea."]


@pytest.mark.parametrize("fact", ["", "   ", "x" * 1001], ids=["empty", "blank", "long"])
async def test_what_is_no_fact_is_refused(
    agent: AgentClient, model: ModelServer, fact: str
) -> None:
    """The model is told what a memory is, and nothing is kept."""
    (told,) = await use(agent, model, remember(fact))
    assert "one sentence" in told
    assert await agent.memories.list() == []


async def test_the_person_reads_and_deletes(agent: AgentClient, model: ModelServer) -> None:
    """Memories are listed newest first; one that is forgotten is not recalled."""
    for fact in ("One.", "Two.", "Three."):
        await use(agent, model, remember(fact))
    listed = await agent.memories.list()
    assert [memory.text for memory in listed] == ["Three.", "Two.", "One."]
    await agent.memories.forget(listed[1].id)
    (found,) = await use(agent, model, recall("numbers"))
    assert "Two." not in found
    with pytest.raises(NotFound):
        await agent.memories.forget(listed[1].id)
    assert await agent.memories.forget_all() == 2
    assert await agent.memories.list() == []


async def test_in_the_terminal(agent: AgentClient, server: LocalServer, model: ModelServer) -> None:
    """`steady memory list` shows them, `forget` deletes one or all, or says what to give."""
    await use(agent, model, remember("One."), remember("Two."))
    url = ("--url", server.url)
    listed = steady("memory", "list", *url)
    assert listed.returncode == 0
    first, second = listed.stdout.splitlines()
    assert {first.split()[-1], second.split()[-1]} == {"One.", "Two."}
    assert steady("memory", "forget", first.split()[0], *url).returncode == 0
    assert len(await agent.memories.list()) == 1
    unnamed = steady("memory", "forget", *url)
    assert unnamed.returncode == 2
    assert "--all" in unnamed.stderr
    unknown = steady("memory", "forget", "unknown", *url)
    assert unknown.returncode == 1
    assert "no memory" in unknown.stderr
    assert steady("memory", "forget", "--all", *url).stdout == "Forgot 1.\n"
