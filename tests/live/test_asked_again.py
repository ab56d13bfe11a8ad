"""Runs that bring no new message, asked for again: after a cut, and under the same key."""

import random
import uuid
from collections.abc import Awaitable, Callable

import pytest

from client import AgentClient
from client.cli.local_server import LocalServer
from tests.live.test_agent_route import without_times
from tests.live.test_websocket import heard, say, talking, turn
from tests.model_server import ModelServer, Reply, ToolCall
from tests.sse_reader import JSON, ask, ask_in_parts, opened, text_of

TOKENS = tuple(f"{' ' if n else ''}word{n}" for n in range(60))
SLOW = Reply(TOKENS, tokens_per_second=120)
TEXT = "".join(TOKENS)


async def undecided(agent: AgentClient, model: ModelServer) -> JSON:
    """What `decide` takes, on a thread where a note waits for a person."""
    question = f"Save {uuid.uuid4().hex}."
    call = ToolCall("save_note", {"title": question, "text": "Hi."})
    model.on(question, Reply(tool_calls=[call]), SLOW)
    run = agent.stream(question)
    await run.text()
    decision = {"interrupt_id": run.interrupts[0].id, "decisions": [{"type": "approve"}]}
    return {"thread_id": run.thread_id, **decision}


async def answered(agent: AgentClient, model: ModelServer) -> JSON:
    """What `regenerate` takes, on a thread with an answer."""
    question = f"Vary {uuid.uuid4().hex}."
    model.on(question, Reply("Old."))
    run = agent.stream(question)
    await run.text()
    model.on(question, SLOW)
    return {"thread_id": run.thread_id}


async def unfinished(agent: AgentClient, model: ModelServer) -> JSON:
    """What `resume` takes, on a thread whose last question has no answer."""
    question = f"Tell {uuid.uuid4().hex}."
    model.on(question, SLOW)
    thread_id = (await agent.sdk.threads.create(graph_id="agent"))["thread_id"]
    values = {"messages": [{"role": "user", "content": question}]}
    await agent.sdk.threads.update_state(thread_id, values, as_node="__start__")
    return {"thread_id": thread_id}


Prepare = Callable[[AgentClient, ModelServer], Awaitable[JSON]]
WAYS: dict[str, Prepare] = {"decide": undecided, "regenerate": answered, "continue_run": unfinished}


@pytest.mark.parametrize("way", WAYS)
async def test_a_cut_is_gone_on_after(
    server: LocalServer, agent: AgentClient, model: ModelServer, way: str
) -> None:
    """A reader cut off after any event, who posts the same again, misses and repeats nothing."""
    body = await WAYS[way](agent, model)
    runs = len(await agent.runs.list(body["thread_id"]))
    events = await ask_in_parts(server.url, f"/agent/{way}", body, random.Random(way))
    assert text_of(events) == TEXT
    assert [event["type"] for event in events].count("run_started") == 1
    assert len(await agent.runs.list(body["thread_id"])) == runs + 1


@pytest.mark.parametrize("way", WAYS)
async def test_the_same_key_starts_one_run(
    server: LocalServer, agent: AgentClient, model: ModelServer, way: str
) -> None:
    """Sent again while it runs, and after its end, it is one run: nothing is checked anew."""
    body = await WAYS[way](agent, model)
    runs = len(await agent.runs.list(body["thread_id"]))
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    async with opened(server.url, f"/agent/{way}", body, headers) as cut:
        began = await anext(cut)
    first, again = [await ask(server.url, f"/agent/{way}", body, headers) for _ in range(2)]
    assert first[0]["run_id"] == began["run_id"]
    assert without_times(again) == without_times(first)
    assert text_of(again) == TEXT
    assert len(await agent.runs.list(body["thread_id"])) == runs + 1


@pytest.mark.parametrize("way", WAYS)
async def test_the_same_key_over_the_websocket(
    server: LocalServer, agent: AgentClient, model: ModelServer, way: str
) -> None:
    """A frame sent again on a new connection, with its key, is the run that it began."""
    body = await WAYS[way](agent, model)
    query = f"?thread_id={body.pop('thread_id')}"
    frame = {"type": way, "idempotency_key": str(uuid.uuid4()), **body}
    async with talking(server, query) as socket:
        await say(socket, **frame)
        began = await heard(socket)
    async with talking(server, query) as socket:
        await say(socket, **frame)
        events = await turn(socket)
    assert events[0]["run_id"] == began["run_id"]
    assert text_of(events) == TEXT
