"""Joining runs that someone else started, from their beginning or from any place in them."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from client import (
    AgentClient,
    Done,
    InvalidRequest,
    Mode,
    NotFound,
    Retry,
    Run,
    Token,
    ToolCall,
    ToolResult,
)
from client.events import AgentEvent
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

UNKNOWN = "00000000-0000-4000-8000-000000000000"
MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")
QUESTION = "What is 6 x 7, joined?"


CALL = Call("calculate", {"expression": "6 * 7"}, id="only")
SLOW = Reply(tuple(f" no{n}" for n in range(100)), tokens_per_second=5)


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    calls = [Call("calculate", {"expression": "6 * 7"}), Call("calculate", {"expression": "7 * 6"})]
    words = tuple(f" no{n % 3}" for n in range(300))
    model.on(QUESTION, Reply("Let me see.", tool_calls=calls), Reply(words))


def merged(events: Iterable[AgentEvent]) -> list[AgentEvent | tuple[str, str]]:
    """The events, with each message's tokens joined: where they are cut may differ."""
    merged_events: list[AgentEvent | tuple[str, str]] = []
    for event in events:
        if isinstance(event, Done):
            continue
        if isinstance(event, Token) and merged_events and isinstance(merged_events[-1], tuple):
            merged_events[-1] = (event.message_id, merged_events[-1][1] + event.content)
        elif isinstance(event, Token):
            merged_events.append((event.message_id, event.content))
        else:
            merged_events.append(event)
    return merged_events


def texts_of(events: Iterable[AgentEvent]) -> dict[str, str]:
    """Each message's text, without what a `Retry` discards."""
    texts = dict[str, str]()
    for event in events:
        if isinstance(event, Token):
            texts[event.message_id] = texts.get(event.message_id, "") + event.content
        elif isinstance(event, Retry):
            texts.pop(event.message_id, None)
    return texts


async def read(run: Run) -> list[AgentEvent]:
    async with run:
        return [event async for event in run]


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_that_has_ended_is_joined_from_its_beginning(
    agent: AgentClient, mode: Mode
) -> None:
    """A join after the end gives the same events, text and tool calls as the stream did."""
    first = agent.stream(QUESTION, modes=[mode])
    events = await read(first)
    joined = agent.runs.join(str(first.thread_id), str(first.run_id))
    assert merged(await read(joined)) == merged(events)
    assert await joined.text() == await first.text()
    assert joined.tool_calls == first.tool_calls


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(4))
async def test_a_reader_goes_on_where_another_left(
    agent: AgentClient, mode: Mode, seed: int
) -> None:
    """Left after any event and joined from there, the two parts are together the whole."""
    left_after = random.Random(seed).randint(1, 25)
    first = agent.stream(QUESTION, modes=[mode])
    seen: list[AgentEvent] = []
    async with first:
        async for event in first:
            seen.append(event)
            if len(seen) >= left_after:
                break
    rest = agent.runs.join(str(first.thread_id), str(first.run_id), first.last_event_id)
    whole = agent.runs.join(str(first.thread_id), str(first.run_id))
    after = await read(rest)
    assert merged([*seen, *after]) == merged(await read(whole))
    assert await rest.text() == await whole.text()


@pytest.mark.parametrize("is_late", [True, False])
async def test_a_run_whose_events_are_not_stored_is_whole(
    agent: AgentClient, model: ModelServer, is_late: bool
) -> None:
    """The stock SDK's default: what the stream cannot bring any more comes from the thread."""
    model.on("Not stored.", Reply("Let me see.", tool_calls=[CALL]), SLOW)
    thread_id, asked = await agent.threads.create(), len(model.requests)
    run = await agent.sdk.runs.create(
        thread_id,
        "agent",
        input={"messages": [{"role": "user", "content": "Not stored."}]},
        stream_mode=["messages-tuple"],
    )
    await asyncio.to_thread(model.wait_for, lambda m: len(m.requests) >= asked + 2)
    if is_late:
        await asyncio.to_thread(model.hurry, asked + 1)
        await agent.sdk.runs.join(thread_id, run["run_id"])
    joined = agent.runs.join(thread_id, run["run_id"])
    events: list[AgentEvent] = []
    async with joined:
        async for event in joined:
            events.append(event)
            if isinstance(event, Token):
                model.hurry()
    first, last = [m for m in await agent.threads.messages(thread_id) if m["type"] == "ai"]
    assert texts_of(events) == {m["id"]: m["content"] for m in (first, last)}
    assert await joined.text() == last["content"]
    assert [event.id for event in events if isinstance(event, ToolCall)] == [CALL.id]
    assert [event.id for event in events if isinstance(event, ToolResult)] == [CALL.id]
    assert isinstance(events[-1], Done)
    assert events[-1].status == "success"


async def test_a_joined_run_goes_on_while_it_runs(agent: AgentClient) -> None:
    """A run in the middle of its answer is joined with its answer so far, and what follows."""
    question = "stream 100 tokens at 100 per second"
    async with agent.stream(question) as run:
        async for event in run:
            if isinstance(event, Token):
                break
    joined = agent.runs.join(str(run.thread_id), str(run.run_id))
    text = "".join(e.content for e in await read(joined) if isinstance(e, Token))
    assert text == " ".join(f"word{n}" for n in range(100))


async def test_a_servers_own_id_is_a_place_too(agent: AgentClient) -> None:
    """From an id as another client keeps it, the join gives what comes after that event."""
    first = agent.stream(QUESTION)
    await read(first)
    ids = [
        str(part.id)
        async for part in agent.sdk.runs.join_stream(
            str(first.thread_id), str(first.run_id), last_event_id="-1"
        )
        if part.event == "messages" and part.data[0]["type"] == "tool"
    ]
    rest = await read(agent.runs.join(str(first.thread_id), str(first.run_id), ids[-1]))
    assert not [e for e in rest if isinstance(e, ToolResult)]
    assert "".join(e.content for e in rest if isinstance(e, Token)) == await first.text()


async def test_runs_are_listed_asked_for_and_cancelled(agent: AgentClient) -> None:
    """The thread's runs are there, and a cancelled one ends as `stopped` for who joins it."""
    async with agent.stream("stream 5000 tokens at 50 per second") as run:
        async for event in run:
            if isinstance(event, Token):
                break
    thread_id, run_id = str(run.thread_id), str(run.run_id)
    assert [each["run_id"] for each in await agent.runs.list(thread_id)] == [run_id]
    assert (await agent.runs.get(thread_id, run_id))["status"] == "running"
    joined = agent.runs.join(thread_id, run_id)
    async with joined:
        async for event in joined:
            if isinstance(event, Token):
                await agent.runs.cancel(thread_id, run_id)
    assert joined.done
    assert joined.done.status == "stopped"


async def test_a_reader_who_asked_for_it_ends_the_run_by_leaving(agent: AgentClient) -> None:
    """With `on_disconnect="cancel"` the run ends when its reader leaves in the middle."""
    question = "stream 5000 tokens at 50 per second"
    async with agent.stream(question, on_disconnect="cancel") as run:
        async for event in run:
            if isinstance(event, Token):
                break
    await agent.sdk.runs.join(str(run.thread_id), str(run.run_id))
    assert (await agent.runs.get(str(run.thread_id), str(run.run_id)))["status"] == "interrupted"


async def test_unknown_runs_are_not_found(agent: AgentClient) -> None:
    """A run, or a thread, that is not there is NotFound; what is no id is rejected."""
    thread_id = await agent.threads.create()
    for place in (thread_id, UNKNOWN):
        with pytest.raises(NotFound):
            await read(agent.runs.join(place, UNKNOWN))
    with pytest.raises(InvalidRequest, match="not a valid run id"):
        agent.runs.join(thread_id, "../x")
