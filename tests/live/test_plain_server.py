"""What client/README's table promises of any server, on a `langgraph dev` without our routes,
patches and rules, and of graphs without our middleware. The other rows: `test_any_interrupt`,
`test_audience`, `test_foreign_graphs`."""

import asyncio
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from client import AgentClient, Done, Event, InvalidRequest, Token
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call


async def test_a_thread_goes_on_with_its_own_assistant(graphs: AgentClient) -> None:
    """The server has no `agent`: what names no assistant asks that of the thread's last run."""
    first = await graphs.ask({"topic": "cats"}, assistant_id="joke")
    again = await graphs.ask({"topic": "dogs"}, thread_id=first.thread_id)
    assert again.text == "You said: A joke about dogs."


async def test_an_input_that_does_not_fit_is_refused(graphs: AgentClient) -> None:
    """With the fields of the graph's schema, before anything runs."""
    with pytest.raises(InvalidRequest, match=r"topic \(string\)"):
        await graphs.ask({"subject": "cats"}, assistant_id="joke")


async def test_a_schema_that_the_server_cannot_make_is_asked_for_once(graphs: AgentClient) -> None:
    """Python before 3.12 has no schema for the TypedDict of such a graph; its runs need none."""
    asked: list[str] = []

    async def note(request: httpx.Request) -> None:
        asked.append(request.url.path.rpartition("/")[2])

    graphs.sdk.http.client.event_hooks["request"].append(note)
    for topic in ("one", "two", "three"):
        run = graphs.stream({"topic": topic}, assistant_id="polite", context={"greeting": "Hello"})
        assert (await run.final_state())["joke"] == f"Hello, {topic}"
    assert asked.count("schemas") == 1


@pytest.mark.parametrize("name", ["interrupt_before", "interrupt_after"])
async def test_a_run_pauses_at_a_node(graphs: AgentClient, name: Any) -> None:
    """The run ends `interrupted` without interrupts, and `continue_run` goes on."""
    options: Any = {"context": {"greeting": "Hello"}}
    node = {"interrupt_before": "greet", "interrupt_after": "thinking"}[name]
    paused = graphs.stream({"topic": name}, assistant_id="polite", **options, **{name: [node]})
    await paused.text()
    assert paused.done is not None
    assert (paused.done.status, paused.interrupts) == ("interrupted", [])
    rest = graphs.continue_run(str(paused.thread_id), **options)
    assert (await rest.final_state())["joke"] == f"Hello, {name}"


async def test_options_reach_the_run(graphs: AgentClient) -> None:
    """`config`, `metadata`, `durability` and `context` are the run's."""
    run = graphs.stream(
        {"topic": "Ada"},
        assistant_id="polite",
        context={"greeting": "Good evening"},
        config={"tags": ["mine"], "recursion_limit": 17},
        metadata={"a": 1},
        durability="exit",
    )
    assert (await run.final_state())["joke"] == "Good evening, Ada"
    made = await graphs.runs.get(str(run.thread_id), str(run.run_id))
    assert made["kwargs"]["config"]["tags"] == ["mine"]
    assert made["kwargs"]["config"]["recursion_limit"] == 17
    assert made["kwargs"]["durability"] == "exit"
    assert made["metadata"]["a"] == 1
    assert len(await graphs.threads.history(str(run.thread_id))) == 1


async def test_calls_with_the_tag_nostream_make_no_tokens(graphs: AgentClient) -> None:
    """The program's own call is no text; `events` mode shows it."""
    context = {"greeting": "Hello"}
    run = graphs.stream(
        {"topic": "tags"}, assistant_id="polite", modes=["messages", "events"], context=context
    )
    events = [event async for event in run]
    assert not [event for event in events if isinstance(event, Token)]
    assert await run.text() == ""
    assert any("A thought about tags" in str(e.data) for e in events if isinstance(e, Event))


async def test_a_message_with_two_calls_is_decided(graphs: AgentClient, model: ModelServer) -> None:
    """LangChain's approval of a whole message, with a decision for each call."""
    calls = [Call("pay", {"amount": amount}) for amount in (70, 80)]
    model.on("Pay two.", Reply(tool_calls=calls), Reply("Done."))
    run = graphs.stream("Pay two.", assistant_id="per_message")
    await run.text()
    rest = run.decide([{"type": "approve"}, {"type": "reject"}])
    assert await rest.text() == "Done."
    contents = [m["content"] for m in (await rest.final_state())["messages"] if m["type"] == "tool"]
    assert "Paid 70, 1 times." in contents
    assert not [content for content in contents if content.startswith("Paid 80")]


async def test_a_threads_stream_tells_of_each_run(graphs: AgentClient) -> None:
    """Runs that come while it is read, one after the other."""
    first = await graphs.ask({"topic": "zero"}, assistant_id="joke")
    async with (
        asyncio.timeout(60),
        aclosing(graphs.threads.join_stream(first.thread_id, first.run_id)) as events,
    ):
        for topic in ("one", "two"):
            asking = asyncio.create_task(graphs.ask({"topic": topic}, thread_id=first.thread_id))
            text = ""
            async for event in events:
                if isinstance(event, Token):
                    text += event.content
                elif isinstance(event, Done):
                    break
            assert text == f"You said: A joke about {topic}."
            assert (await asking).text == text
