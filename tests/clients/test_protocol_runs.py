"""Runs that a client of the thread-stream protocol (v3) began, followed by this client."""

import asyncio
import warnings
from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk import get_client

from client import (
    AgentClient,
    Reasoning,
    Retry,
    Token,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from client.cli.local_server import LocalServer
from tests.model_server import Fault, ModelServer, Reply
from tests.model_server import ToolCall as Call
from tests.model_server import Usage as Counts
from tests.sse_reader import opened, text_of


class Protocol:
    """Begins runs as the SDKs' thread streams do."""

    def __init__(self, url: str) -> None:
        self._sdk = get_client(url=url, api_key=None)

    async def start(self, question: str, thread_id: str = "") -> tuple[str, str]:
        """The thread, a new one unless it is given, and the run that answers a question."""
        thread_id = thread_id or str((await self._sdk.threads.create())["thread_id"])
        message = {"role": "user", "content": question}
        params = {"assistant_id": "agent", "input": {"messages": [message]}}
        command: Any = {"id": 1, "method": "run.start", "params": params}
        answer: Any = await self._sdk.http.post(f"/threads/{thread_id}/commands", json=command)
        return thread_id, answer["result"]["run_id"]


@pytest.fixture
async def protocol(server: LocalServer) -> Protocol:
    return Protocol(server.url)


async def test_everything_is_read(
    agent: AgentClient, protocol: Protocol, model: ModelServer
) -> None:
    """Reasoning, text, calls, results and usage come as on any run, with the thread's ids."""
    question = f"Calculate {uuid4()}."
    model.on(
        question,
        Reply("Let me see.", "Hmm.", tool_calls=[Call("calculate", {"expression": "6*7"})]),
        Reply("It is 42, surely.", usage=Counts(10, 5)),
    )
    thread_id, run_id = await protocol.start(question)
    run = agent.runs.join(thread_id, run_id)
    events = [event async for event in run]
    assert run.done is not None
    assert run.done.status == "success"

    def of(kind: Any) -> list[Any]:
        return [event for event in events if isinstance(event, kind)]

    texts: dict[str, str] = {}
    for token in of(Token):
        texts[token.message_id] = texts.get(token.message_id, "") + token.content
    assert list(texts.values()) == ["Let me see.", "It is 42, surely."]
    assert [event.content for event in of(Reasoning)] == ["Hmm."]
    assert "".join(event.args_text for event in of(ToolCallDelta)) == '{"expression":"6*7"}'
    assert [(event.tool, event.args) for event in of(ToolCall)] == [
        ("calculate", {"expression": "6*7"})
    ]
    assert [event.content for event in of(ToolResult)] == ["6*7 = 42"]
    assert Usage(10, 5) in events
    assert set(texts) <= {m["id"] for m in await agent.threads.messages(thread_id)}


async def test_a_reader_goes_on(agent: AgentClient, protocol: Protocol) -> None:
    """A second reader begins after the first one's last event, and has the whole text."""
    thread_id, run_id = await protocol.start("stream 200 tokens at 200 per second")
    first = agent.runs.join(thread_id, run_id)
    texts = []
    async with first:
        async for event in first:
            if isinstance(event, Token):
                texts.append(event.content)
            if len(texts) == 5:
                break
    second = agent.runs.join(thread_id, run_id, first.last_event_id)
    async for event in second:
        if isinstance(event, Token):
            texts.append(event.content)
    expected = " ".join(f"word{number}" for number in range(200))
    assert "".join(texts) == expected
    assert await second.text() == expected


async def test_a_late_reader_of_the_protocol(
    server: LocalServer, agent: AgentClient, protocol: Protocol, model: ModelServer
) -> None:
    """Who opens a thread's stream in the middle of an answer, after other turns, misses nothing."""
    thread_id = ""
    for _ in range(5):
        thread_id, run_id = await protocol.start("stream 5 tokens", thread_id)
        await agent.runs.join(thread_id, run_id).text()
    _, run_id = await protocol.start("stream 150 tokens at 5 per second", thread_id)
    async for event in agent.runs.join(thread_id, run_id):
        if isinstance(event, Token):
            break
    text, state = "", None
    body = {"channels": ["messages", "values"]}
    async with opened(server.url, f"/threads/{thread_id}/stream/events", body) as stream:
        async for event in stream:
            data = event["params"]["data"]
            match event["method"], data.get("event"):
                case "messages", "message-start":
                    text = ""
                    model.hurry()
                case "messages", "content-block-delta":
                    text += data["delta"]["text"]
                case "values", _ if len(data["messages"]) == 12:
                    state = data
                    break
    assert text == " ".join(f"word{number}" for number in range(150))
    assert state["messages"][-1]["content"][0]["text"] == text


async def test_the_route(server: LocalServer, protocol: Protocol) -> None:
    """The page's route follows it as well."""
    thread_id, run_id = await protocol.start("stream 50 tokens at 100 per second")
    async with opened(server.url, f"/agent/stream/{thread_id}/{run_id}") as stream:
        events = await stream.rest()
    assert text_of(events) == " ".join(f"word{number}" for number in range(50))
    assert events[-1]["type"] == "done"
    assert events[-1]["status"] == "success"


async def test_a_stopped_run(agent: AgentClient, protocol: Protocol) -> None:
    """Its text is the partial answer that the thread keeps, under the id that was streamed."""
    thread_id, run_id = await protocol.start("stream 900 tokens at 30 per second")
    run = agent.runs.join(thread_id, run_id)
    texts: dict[str, str] = {}
    async for event in run:
        if isinstance(event, Token):
            texts[event.message_id] = texts.get(event.message_id, "") + event.content
            if len(texts[event.message_id]) > 100 and run.done is None:
                await run.stop()
    assert run.done is not None
    assert run.done.status == "stopped"
    kept = (await agent.threads.messages(thread_id))[-1]
    assert texts == {kept["id"]: await run.text()}


async def test_a_retried_call(model: ModelServer, retrying: LocalServer) -> None:
    """The failed attempt is told of as on any run."""
    question = f"Retried {uuid4()}."
    model.on(question, Reply("one two three four", fails=[Fault("disconnect", after_tokens=2)]))
    thread_id, run_id = await Protocol(retrying.url).start(question)
    async with AgentClient(retrying.url) as client:
        run = client.runs.join(thread_id, run_id)
        events = [event async for event in run]
        assert len([event for event in events if isinstance(event, Retry)]) == 1
        assert await run.text() == "one two three four"


async def test_a_failed_attempt_ends(model: ModelServer, retrying: LocalServer) -> None:
    """Who awaits the text of a failed attempt gets its error, and then the next attempt's text."""
    question = f"Retried {uuid4()}."
    model.on(question, Reply("one two three four", fails=[Fault("disconnect", after_tokens=2)]))
    texts = list[str]()

    async def read(message: Any) -> None:
        try:
            texts.append("".join([text async for text in message.text]))
        except RuntimeError as error:
            texts.append(str(error))

    with warnings.catch_warnings(action="ignore"):
        sdk = get_client(url=retrying.url, api_key=None)
        async with (
            asyncio.timeout(60),
            sdk.threads.stream(assistant_id="agent") as thread,
            asyncio.TaskGroup() as group,
        ):
            await thread.run.start(input={"messages": [{"role": "user", "content": question}]})
            async for message in thread.messages:
                group.create_task(read(message))
    failure, answer = texts
    assert "broke off" in failure
    assert answer == "one two three four"
