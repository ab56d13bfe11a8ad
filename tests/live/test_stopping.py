"""Stopping: what was read is kept, and the thread can go on."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from client import (
    AgentClient,
    NotFound,
    Retry,
    Run,
    RunStarted,
    Token,
    ToolCall,
    ToolCallDelta,
    ToolResult,
)
from client.cli.local_server import LocalServer, find_config
from client.events import AgentEvent
from tests.conftest import server_env
from tests.model_server import Fault, ModelServer, Reply
from tests.model_server import ToolCall as Call

LONG = "stream 900 tokens at 20 per second"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def read_until(run: Run, kind: type[AgentEvent], count: int = 1) -> list[AgentEvent]:
    """Reads events until so many of a kind are there, and leaves the stream open."""
    events = list[AgentEvent]()
    while sum(isinstance(event, kind) for event in events) < count:
        events.append(await anext(aiter(run)))
    return events


async def rest_of(run: Run) -> list[AgentEvent]:
    return [event async for event in run]


def text_of(events: list[AgentEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, Token))


def sent(model: ModelServer) -> list[tuple[str, str]]:
    """What the model was sent last: roles and contents, without the instructions."""
    return [(m["role"], m.get("content") or "") for m in model.requests[-1]["messages"]][1:]


async def test_a_checkpoint_to_regenerate_from(agent: AgentClient) -> None:
    """The checkpoint before the one that first has the partial is one from which the model is
    called: clients of other makers regenerate from there."""
    async with agent.stream(LONG) as run:
        await read_until(run, Token, 3)
        await run.stop()
        await rest_of(run)
    states = await agent.threads.history(str(run.thread_id))
    first = [state for state in states if len(state["values"].get("messages", ())) == 2][-1]
    parent_id = first["parent_checkpoint"]["checkpoint_id"]
    (parent,) = [each for each in states if each["checkpoint"]["checkpoint_id"] == parent_id]
    assert parent["next"] == ["model"]


@pytest.mark.parametrize("seed", range(5))
async def test_what_was_read_is_kept(agent: AgentClient, model: ModelServer, seed: int) -> None:
    """The partial is on the thread as a message marked stopped, exactly as it was told."""
    async with agent.stream(LONG) as run:
        events = await read_until(run, Token, random.Random(seed).randint(1, 20))
        await run.stop()
        events += await rest_of(run)
    assert run.done
    assert run.done.status == "stopped"
    _, answer = await agent.threads.messages(str(run.thread_id))
    assert answer["content"] == text_of(events)
    assert {e.message_id for e in events if isinstance(e, Token)} == {answer["id"]}
    assert answer["response_metadata"]["finish_reason"] == "stopped"
    async with agent.stream("Go on.", thread_id=run.thread_id) as second:
        assert await second.text() == "You said: Go on."
    assert sent(model) == [("user", LONG), ("assistant", text_of(events)), ("user", "Go on.")]


@pytest.mark.usefixtures("quiet_model")
async def test_the_model_is_left_at_once(agent: AgentClient, model: ModelServer) -> None:
    """The connection to the model is closed: nobody pays for what nobody reads."""
    before = model.disconnects
    async with agent.stream(LONG) as run:
        await read_until(run, Token)
        await run.stop()
        await asyncio.to_thread(model.wait_for, lambda m: m.disconnects == before + 1)


@pytest.mark.usefixtures("quiet_model")
async def test_a_stop_before_the_first_word(agent: AgentClient, model: ModelServer) -> None:
    """Nothing was said, nothing is kept, and the thread goes on."""
    model.on("Think long.", Reply("Late.", first_token_seconds=30))
    async with agent.stream("Think long.") as run:
        await read_until(run, RunStarted)
        await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 1)
        await run.stop()
        await rest_of(run)
    assert run.done
    assert run.done.status == "stopped"
    async with agent.stream("And now?", thread_id=run.thread_id) as second:
        assert await second.text() == "You said: And now?"
    first, between, second_question = sent(model)
    assert (first, second_question) == (("user", "Think long."), ("user", "And now?"))
    assert between[0] == "assistant"  # endpoints want roles to alternate


async def test_a_stop_before_the_run_is_there(agent: AgentClient) -> None:
    """It holds: the run is ended as soon as the server has it, and the thread goes on."""
    async with agent.stream(LONG) as run:
        await run.stop()
        await rest_of(run)
    assert run.done
    assert run.done.status == "stopped"
    async with agent.stream("And now?", thread_id=run.thread_id) as second:
        assert await second.text() == "You said: And now?"


async def test_a_half_written_call_is_left_out(agent: AgentClient, model: ModelServer) -> None:
    """Stopped while arguments are written: the text stays, the call does not."""
    call = Call("search_docs", {"query": " ".join(f"frames{n}" for n in range(300))})
    model.on("Search much.", Reply("I look.", tool_calls=[call], tokens_per_second=40))
    async with agent.stream("Search much.") as run:
        await read_until(run, ToolCallDelta, 3)
        await run.stop()
        await rest_of(run)
    _, answer = await agent.threads.messages(str(run.thread_id))
    assert (answer["content"], answer["tool_calls"]) == ("I look.", [])
    async with agent.stream("Never mind.", thread_id=run.thread_id) as second:
        await second.text()
    assert [role for role, _ in sent(model)] == ["user", "assistant", "user"]


@asynccontextmanager
async def silent_service() -> AsyncIterator[str]:
    """A weather service that takes requests and never answers."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as service:
        yield f"http://127.0.0.1:{service.sockets[0].getsockname()[1]}/"


async def test_a_stop_while_tools_run(model: ModelServer, tmp_path: Path) -> None:
    """Each open call gets a result that says so; one that was done keeps its own."""
    calls = [
        Call("get_weather", {"city": "Oslo"}, id="slow"),
        Call("calculate", {"expression": "6 * 7"}, id="quick"),
        Call("get_weather", {"city": "Rome"}, id="slow too"),
    ]
    model.on("Weather and 6 x 7?", Reply("I look.", tool_calls=calls), Reply("Never said."))
    async with silent_service() as weather:
        env = server_env(model.url, STEADY_GEOCODING_URL=weather, STEADY_WEATHER_SECONDS="30")
        config = find_config(Path(__file__).parent)
        with LocalServer(config, env=env, folder=tmp_path) as server:
            async with AgentClient(server.url) as agent:
                async with agent.stream("Weather and 6 x 7?") as run:
                    await read_until(run, ToolCall, 3)
                    await read_until(run, ToolResult)
                    await run.stop()
                    await rest_of(run)
                told = await agent.threads.messages(str(run.thread_id))
                async with agent.stream("Go on.", thread_id=run.thread_id) as second:
                    assert await second.text() == "You said: Go on."
    results = {m["tool_call_id"]: (m["status"], m["content"]) for m in told[2:]}
    assert set(results) == {"slow", "quick", "slow too"}
    assert results["quick"] == ("success", "6 * 7 = 42")
    assert results["slow"][0] == results["slow too"][0] == "error"
    assert "Stopped before" in results["slow"][1]
    roles = [role for role, _ in sent(model)]
    assert roles == ["user", "assistant", "tool", "tool", "tool", "user"]


async def test_stopping_twice_is_stopping_once(agent: AgentClient) -> None:
    """A second stop, at once or after the end, does nothing and fails nothing."""
    async with agent.stream(LONG) as run:
        await read_until(run, Token)
        await asyncio.gather(run.stop(), run.stop())
        await rest_of(run)
    await run.stop()
    assert run.done
    assert run.done.status == "stopped"


async def test_stopping_what_has_ended(agent: AgentClient) -> None:
    """A run that has answered stays answered; one that nobody knows is not found."""
    async with agent.stream("Hello.") as run:
        await run.text()
    await run.stop()
    assert len(await agent.threads.messages(str(run.thread_id))) == 2
    with pytest.raises(NotFound):
        await agent.runs.cancel(str(run.thread_id), UNKNOWN)


@pytest.mark.parametrize("seed", range(4))
async def test_a_message_that_interrupts(agent: AgentClient, model: ModelServer, seed: int) -> None:
    """With `interrupt`, what the one had said is on the thread before the other's question."""
    async with agent.stream(LONG) as run:
        events = await read_until(run, Token, random.Random(seed).randint(1, 6))
        async with agent.stream(
            "Rather this.", thread_id=run.thread_id, multitask_strategy="interrupt"
        ) as second:
            assert await second.text() == "You said: Rather this."
        events += await rest_of(run)
    assert run.done
    assert run.done.status == "stopped"
    told = [m["content"] for m in await agent.threads.messages(str(run.thread_id))]
    assert told == [LONG, text_of(events), "Rather this.", "You said: Rather this."]


async def test_a_stop_as_an_answer_breaks_off(model: ModelServer, retrying: LocalServer) -> None:
    """What a try had said is in the thread, unless a retry took it back from the reader."""
    words, broken = tuple(f"word{n} " for n in range(20)), Fault("error_event", after_tokens=19)

    async def stopped(agent: AgentClient, question: str) -> None:
        model.on(question, Reply(words, tokens_per_second=400.0, fails=[broken]))
        texts: dict[str, str] = {}
        async with agent.stream(question) as run:
            async for event in run:
                if isinstance(event, Token):
                    texts[event.message_id] = texts.get(event.message_id, "") + event.content
                    if words[18] in event.content:
                        await run.stop()
                if isinstance(event, Retry):
                    texts.pop(event.message_id, None)
        stored = await agent.threads.messages(str(run.thread_id))
        assert {m["id"]: m["content"] for m in stored if m["type"] == "ai"} == texts

    async with AgentClient(retrying.url) as agent:
        await asyncio.gather(*(stopped(agent, f"Break off once, {n}.") for n in range(12)))


async def test_a_message_that_interrupts_a_queue(agent: AgentClient) -> None:
    """What runs is stopped and what waits never begins, however much waits."""
    async with agent.stream(LONG) as run:
        events = await read_until(run, Token)
        thread_id = str(run.thread_id)
        for number in range(12):
            await agent.sdk.runs.create(
                thread_id,
                "agent",
                input={"messages": [{"role": "user", "content": f"Queued {number}."}]},
                multitask_strategy="enqueue",
            )
        second = agent.stream("Rather this.", thread_id=thread_id, multitask_strategy="interrupt")
        assert await second.text() == "You said: Rather this."
        events += await rest_of(run)
    told = [m["content"] for m in await agent.threads.messages(thread_id)]
    assert told == [LONG, text_of(events), "Rather this.", "You said: Rather this."]


async def test_a_message_that_rolls_back(agent: AgentClient, model: ModelServer) -> None:
    """With `rollback`, the thread is as if the one had never been asked."""
    async with agent.stream("Hello.") as zero:
        await zero.text()
    async with agent.stream(LONG, thread_id=zero.thread_id) as run:
        await read_until(run, Token)
        async with agent.stream(
            "Rather this.", thread_id=run.thread_id, multitask_strategy="rollback"
        ) as second:
            assert await second.text() == "You said: Rather this."
    told = [m["content"] for m in await agent.threads.messages(str(run.thread_id))]
    assert told == ["Hello.", "You said: Hello.", "Rather this.", "You said: Rather this."]
