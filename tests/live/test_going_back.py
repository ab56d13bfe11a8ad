"""Going back: forks, edited messages and new answers; what was there stays readable."""

import uuid

import pytest

from client import AgentClient, InvalidRequest, NotFound
from client.cli.local_server import LocalServer
from tests.live.test_cli import steady
from tests.live.test_websocket import say, talking, turn
from tests.model_server import ModelServer, Reply
from tests.sse_reader import ask, text_of


def spoken(messages: list) -> list[str]:
    return [message["content"] for message in messages]


async def conversation(agent: AgentClient, *questions: str) -> str:
    """A thread on which these were asked and answered."""
    thread_id = await agent.threads.create()
    for question in questions:
        await agent.stream(question, thread_id=thread_id).text()
    return thread_id


def varied(model: ModelServer) -> str:
    """A question that is answered differently each time."""
    question = f"Vary {uuid.uuid4().hex[:6]}."
    model.on(question, Reply("Answer one."))
    return question


async def test_an_answer_is_given_anew(agent: AgentClient, model: ModelServer) -> None:
    """The new answer takes the old one's place; the old branch is read by its checkpoint."""
    question = varied(model)
    thread_id = await conversation(agent, "Hello.", question)
    old = (await agent.threads.history(thread_id))[0]["checkpoint"]["checkpoint_id"]
    model.on(question, Reply("Answer two."))
    assert await agent.regenerate(thread_id).text() == "Answer two."
    now = spoken(await agent.threads.messages(thread_id))
    assert now == ["Hello.", "You said: Hello.", question, "Answer two."]
    before = spoken(await agent.threads.messages(thread_id, old))
    assert before == ["Hello.", "You said: Hello.", question, "Answer one."]


async def test_an_answer_is_given_anew_again_and_again(
    agent: AgentClient, model: ModelServer
) -> None:
    """Each new answer stands on the question, not on the answer before it."""
    question = varied(model)
    thread_id = await conversation(agent, question)
    for number in ("two", "three", "four"):
        model.on(question, Reply(f"Answer {number}."))
        await agent.regenerate(thread_id).text()
        assert spoken(await agent.threads.messages(thread_id)) == [question, f"Answer {number}."]
        sent = [m["content"] for m in model.requests[-1]["messages"][1:]]
        assert sent == [question]


@pytest.mark.parametrize("place", [0, 2, 4])
async def test_an_earlier_message_is_said_differently(
    agent: AgentClient, model: ModelServer, place: int
) -> None:
    """What came after it is gone from the thread's present, and stays in its history."""
    thread_id = await conversation(agent, "One.", "Two.", "Three.")
    messages = await agent.threads.messages(thread_id)
    run = agent.stream("Instead.", thread_id=thread_id, replaces=messages[place]["id"])
    assert await run.text() == "You said: Instead."
    now = spoken(await agent.threads.messages(thread_id))
    assert now == [*spoken(messages)[:place], "Instead.", "You said: Instead."]
    sent = [m["content"] for m in model.requests[-1]["messages"][1:]]
    assert sent == now[:-1]
    history = await agent.threads.history(thread_id, limit=100)
    assert any(spoken(s["values"].get("messages", [])) == spoken(messages) for s in history)


async def test_a_fork_from_a_checkpoint(agent: AgentClient) -> None:
    """A message may go on from any state that the thread ever had."""
    thread_id = await conversation(agent, "One.", "Two.")
    history = await agent.threads.history(thread_id, limit=100)
    after_one = next(
        s for s in history if len(s["values"].get("messages", [])) == 2 and not s["next"]
    )
    checkpoint = after_one["checkpoint"]["checkpoint_id"]
    await agent.stream("Other.", thread_id=thread_id, checkpoint_id=checkpoint).text()
    told = spoken(await agent.threads.messages(thread_id))
    assert told == ["One.", "You said: One.", "Other.", "You said: Other."]


async def test_a_fork_may_be_left_again(agent: AgentClient) -> None:
    """The old branch can be gone on with, from its last checkpoint."""
    thread_id = await conversation(agent, "One.", "Two.")
    old = (await agent.threads.history(thread_id))[0]["checkpoint"]["checkpoint_id"]
    first = (await agent.threads.messages(thread_id))[0]["id"]
    await agent.stream("Uno.", thread_id=thread_id, replaces=first).text()
    await agent.stream("Three.", thread_id=thread_id, checkpoint_id=old).text()
    told = spoken(await agent.threads.messages(thread_id))
    assert told[::2] == ["One.", "Two.", "Three."]


async def test_what_is_not_there_cannot_be_gone_back_to(agent: AgentClient) -> None:
    """An unknown message, an empty thread and an unknown thread are told, and change nothing."""
    thread_id = await conversation(agent, "One.")
    with pytest.raises(NotFound, match="no message with the id"):
        await agent.stream("Other.", thread_id=thread_id, replaces="nothing").text()
    assert len(await agent.threads.messages(thread_id)) == 2
    with pytest.raises(InvalidRequest, match="no answer"):
        await agent.regenerate(await agent.threads.create()).text()
    with pytest.raises(NotFound):
        await agent.regenerate(str(uuid.uuid4())).text()


async def test_over_sse_and_websocket(
    server: LocalServer, agent: AgentClient, model: ModelServer
) -> None:
    """Both routes edit and regenerate as the client does."""
    question = varied(model)
    thread_id = await conversation(agent, question)
    model.on(question, Reply("Answer two."))
    again = await ask(server.url, "/agent/regenerate", {"thread_id": thread_id})
    assert text_of(again) == "Answer two."
    first = (await agent.threads.messages(thread_id))[0]["id"]
    body = {"message": "Edited.", "thread_id": thread_id, "replaces": first}
    assert text_of(await ask(server.url, "/agent/stream", body)) == "You said: Edited."
    async with talking(server, f"?thread_id={thread_id}") as socket:
        await say(socket, type="regenerate")
        assert text_of(await turn(socket)) == "You said: Edited."
    assert spoken(await agent.threads.messages(thread_id)) == ["Edited.", "You said: Edited."]


async def test_in_the_terminal(server: LocalServer, agent: AgentClient, model: ModelServer) -> None:
    """`steady regenerate` and `steady run --replaces` go back; `show --ids` tells to what."""
    question = varied(model)
    thread_id = await conversation(agent, question)
    model.on(question, Reply("Answer two."))
    assert "Answer two." in steady("regenerate", thread_id, "--url", server.url).stdout
    shown = steady("threads", "show", thread_id, "--ids", "--url", server.url).stdout
    first = shown.split()[0]
    words = ("run", "Edited.", "--thread-id", thread_id, "--replaces", first, "--url", server.url)
    assert "You said: Edited." in steady(*words).stdout
    assert spoken(await agent.threads.messages(thread_id)) == ["Edited.", "You said: Edited."]
