"""Threads: conversations that the server keeps, against a real server and a scripted model."""

import asyncio
import uuid
from pathlib import Path

import pytest

from client import AgentClient, Conflict, InvalidRequest, NotFound, RunStarted
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call
from tests.runs import while_one_goes_on


async def ask(agent: AgentClient, question: str, thread_id: str | None = None) -> tuple[str, str]:
    """Runs one turn; its answer and its thread."""
    async with agent.stream(question, thread_id=thread_id) as run:
        return await run.text(), str(run.thread_id)


def spoken(request: dict[str, object]) -> list[object]:
    """What the model was sent, without its instructions."""
    messages = request["messages"]
    assert isinstance(messages, list)
    return [m["content"] for m in messages if m["role"] != "system"]


async def test_the_model_sees_the_earlier_turns_of_a_thread(
    agent: AgentClient, model: ModelServer
) -> None:
    """Each turn on a thread is sent to the model with all that was said on it before."""
    _, thread_id = await ask(agent, "My name is Ada.")
    await ask(agent, "I live in Turin.", thread_id)
    await ask(agent, "Who am I?", thread_id)
    assert spoken(model.requests[-1]) == [
        "My name is Ada.",
        "You said: My name is Ada.",
        "I live in Turin.",
        "You said: I live in Turin.",
        "Who am I?",
    ]


async def test_an_earlier_turns_tool_call_and_result_are_kept(
    agent: AgentClient, model: ModelServer
) -> None:
    """A later turn's request holds the earlier turn's tool call and its result."""
    model.on(
        "Six sevens?", Reply(tool_calls=[Call("calculate", {"expression": "6*7"})]), Reply("42")
    )
    _, thread_id = await ask(agent, "Six sevens?")
    await ask(agent, "And again?", thread_id)
    _, _, call, result, *_ = model.requests[-1]["messages"]
    assert call["tool_calls"][0]["function"]["name"] == "calculate"
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]
    assert result["content"] == "6*7 = 42"


async def test_threads_do_not_hear_each_other(agent: AgentClient, model: ModelServer) -> None:
    """A run without a thread makes a new one, which knows nothing of the others."""
    _, first = await ask(agent, "The word is heron.")
    _, second = await ask(agent, "What is the word?")
    assert first != second
    assert spoken(model.requests[-1]) == ["What is the word?"]


async def test_messages_are_the_conversation_in_order(agent: AgentClient) -> None:
    """`threads.messages` gives every turn, oldest first, with its speaker."""
    _, thread_id = await ask(agent, "One.")
    await ask(agent, "Two.", thread_id)
    assert [(m["type"], m["content"]) for m in await agent.threads.messages(thread_id)] == [
        ("human", "One."),
        ("ai", "You said: One."),
        ("human", "Two."),
        ("ai", "You said: Two."),
    ]


async def test_a_new_thread_has_no_messages_and_keeps_its_metadata(agent: AgentClient) -> None:
    """A thread that nobody spoke on is idle and empty, and holds the metadata it was made with."""
    thread_id = await agent.threads.create({"topic": "herons"})
    assert await agent.threads.messages(thread_id) == []
    assert await agent.threads.history(thread_id) == []
    thread = await agent.threads.get(thread_id)
    assert (thread["status"], thread["metadata"]["topic"]) == ("idle", "herons")


async def test_history_has_the_checkpoints_newest_first(agent: AgentClient) -> None:
    """History goes back from the whole conversation to the empty thread, within `limit`."""
    _, thread_id = await ask(agent, "Once upon a time.")
    history = await agent.threads.history(thread_id)
    counts = [len(state["values"].get("messages", [])) for state in history]
    assert (counts[0], counts[-1]) == (2, 0)
    assert counts == sorted(counts, reverse=True)
    assert await agent.threads.history(thread_id, limit=1) == history[:1]


async def test_a_history_has_the_fields_that_are_selected(agent: AgentClient) -> None:
    """The SDK's `select` names fields of a state, and keys of its values; else all are there."""
    _, thread_id = await ask(agent, "Once more.")
    whole = await agent.threads.history(thread_id)
    get_history = agent.sdk.threads.get_history
    names = ["checkpoint", "parent_checkpoint"]
    assert await get_history(thread_id, limit=20, select=names) == [
        {name: state[name] for name in names} for state in whole
    ]
    (last,) = await get_history(thread_id, limit=1, select=["values.messages", "values.none"])
    assert last == {"values": {"messages": whole[0]["values"]["messages"]}}
    assert await get_history(thread_id, limit=20, select=[]) == whole


async def test_list_has_the_thread_changed_last_first(agent: AgentClient) -> None:
    """A new turn brings its thread to the head of the list; `limit` bounds the list."""
    _, older = await ask(agent, "Older.")
    _, newer = await ask(agent, "Newer.")
    assert [t["thread_id"] for t in await agent.threads.list(limit=2)] == [newer, older]
    await ask(agent, "Changed.", older)
    assert [t["thread_id"] for t in await agent.threads.list(limit=1)] == [older]


async def test_a_deleted_thread_is_gone(agent: AgentClient) -> None:
    """After a delete nothing of the thread is found, and nothing runs on it."""
    _, thread_id = await ask(agent, "Forget this.")
    await agent.threads.delete(thread_id)
    with pytest.raises(NotFound):
        await agent.threads.messages(thread_id)
    with pytest.raises(NotFound):
        await ask(agent, "Hello?", thread_id)


async def on_thread(agent: AgentClient, action: str, thread_id: str) -> None:
    if action == "run":
        await ask(agent, "Hello?", thread_id)
    else:
        await getattr(agent.threads, action)(thread_id)


ACTIONS = ("get", "messages", "history", "delete", "run")


@pytest.mark.parametrize("action", ACTIONS)
async def test_an_unknown_thread_is_not_found(agent: AgentClient, action: str) -> None:
    """Whatever is asked of a thread that is not there, the error says so and names the thread."""
    unknown = str(uuid.uuid4())
    with pytest.raises(NotFound) as caught:
        await on_thread(agent, action, unknown)
    assert caught.value.thread_id == unknown
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("wrong", ["not-a-thread-id", "../assistants/search", "a\nb"])
async def test_a_malformed_thread_id_is_rejected(
    agent: AgentClient, action: str, wrong: str
) -> None:
    """What is no thread id never becomes part of a URL: one line says what an id looks like."""
    with pytest.raises(InvalidRequest, match="must be a UUID") as caught:
        await on_thread(agent, action, wrong)
    assert "\n" not in caught.value.message


async def test_an_unknown_assistant_is_not_found(agent: AgentClient) -> None:
    """A run of an assistant that the server does not have is refused, by name."""
    with pytest.raises((NotFound, InvalidRequest), match="nobody"):
        async with agent.stream("Hello?", assistant_id="nobody") as run:
            await run.text()


async def test_a_second_run_on_a_busy_thread_conflicts(
    agent: AgentClient, model: ModelServer
) -> None:
    """While one run goes on, another on its thread raises Conflict and leaves the first alone."""
    async with agent.stream("stream 40 tokens at 4 per second") as first:
        async for event in first:
            if isinstance(event, RunStarted):
                break
        with pytest.raises(Conflict) as caught:
            await ask(agent, "Me too!", first.thread_id)
        model.hurry()
        text = await first.text()
    assert caught.value.retryable
    assert text == " ".join(f"word{n}" for n in range(40))
    assert first.done
    assert first.done.status == "success"
    assert len(await agent.threads.messages(str(first.thread_id))) == 2


async def test_two_runs_started_together_on_one_thread(
    agent: AgentClient, model: ModelServer
) -> None:
    """Of runs that start at the same time on one thread, one answers and the others conflict."""
    thread_id = await agent.threads.create()
    question = "stream 20 tokens at 1 per second"
    together = [agent.stream(question, thread_id=thread_id).text() for _ in range(3)]
    ended = await while_one_goes_on(model, together)
    assert sorted(type(e).__name__ for e in ended) == ["Conflict", "Conflict", "str"]


async def test_many_threads_answer_at_once(agent: AgentClient) -> None:
    """Runs on threads of their own do not mix: each gets its own answer, whole."""
    questions = [f"stream {count} tokens" for count in range(50, 56)]
    answers = await asyncio.gather(*(ask(agent, question) for question in questions))
    assert [len(text.split()) for text, _ in answers] == list(range(50, 56))


async def test_a_thread_survives_a_restart(model: ModelServer, tmp_path: Path) -> None:
    """After a stop and a start on the same folder, a thread is as it was, and goes on."""
    server = LocalServer(
        find_config(Path(__file__).parent), env=server_env(model.url), folder=tmp_path
    )
    with server:
        async with AgentClient(server.url) as agent:
            _, thread_id = await ask(agent, "Remember 42.")
            before = await agent.threads.get(thread_id)
            history = await agent.threads.history(thread_id)
    with server:
        async with AgentClient(server.url) as agent:
            after = await agent.threads.get(thread_id)
            assert after["values"] == before["values"]
            assert await agent.threads.history(thread_id) == history
            await ask(agent, "What was it?", thread_id)
    assert spoken(model.requests[-1]) == [
        "Remember 42.",
        "You said: Remember 42.",
        "What was it?",
    ]
