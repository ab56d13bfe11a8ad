"""A thread's stream: the events of all its runs, whoever starts them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
from langgraph_sdk import get_client

from client import (
    AgentClient,
    AgentEvent,
    Done,
    Error,
    InvalidRequest,
    Limits,
    ModelFailed,
    NotFound,
    RunStarted,
    SyncAgentClient,
    Token,
)
from client.cli.local_server import LocalServer
from tests.faults.proxy import Proxy
from tests.faults.scenarios import scenario
from tests.model_server import Fault, ModelServer, Reply
from tests.relay import Relay

SLOW = Reply("One two three four five six seven eight nine ten.", tokens_per_second=20.0)


async def one_run(events: AsyncGenerator[AgentEvent]) -> list[AgentEvent]:
    """The events up to the next `Done`."""
    read: list[AgentEvent] = []
    async with asyncio.timeout(60):
        async for event in events:
            read.append(event)
            if isinstance(event, Done):
                break
    return read


def text(events: list[AgentEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, Token))


async def test_each_run_is_told_from_its_beginning(
    agent: AgentClient, server: LocalServer, model: ModelServer
) -> None:
    """What runs when the stream is joined, and what comes later, also from another client."""
    model.on("Count, for the thread.", Reply(SLOW.text, tokens_per_second=0.5))
    run = agent.stream("Count, for the thread.")
    first = await anext(aiter(run))
    assert isinstance(first, RunStarted)
    thread_id = str(run.thread_id)
    async with aclosing(agent.threads.join_stream(thread_id)) as events:
        told = [await anext(events)]
        model.hurry()
        told += await one_run(events)
        assert told[0] == first
        assert text(told) == SLOW.text
        await run.text()
        stock = get_client(url=server.url)
        waiting = asyncio.create_task(one_run(events))
        asked = {"messages": [{"role": "user", "content": "From the SDK."}]}
        made = await stock.runs.create(thread_id, "agent", input=asked, stream_mode=["updates"])
        told = await waiting
        assert isinstance(told[0], RunStarted)
        assert isinstance(told[-1], Done)
        assert (told[0].run_id, told[-1].run_id) == (made["run_id"], made["run_id"])
        assert told[-1].status == "success"


async def test_a_failed_run_does_not_end_it(agent: AgentClient, model: ModelServer) -> None:
    """A failure is told by `Error` and `Done`, and the next run follows."""
    model.on("Fail, thread.", Reply(fault=Fault(status=400)))
    first = await agent.ask("First.")
    thread_id = first.thread_id
    async with aclosing(agent.threads.join_stream(thread_id, first.run_id)) as events:
        waiting = asyncio.create_task(one_run(events))
        with pytest.raises(ModelFailed):
            await agent.ask("Fail, thread.", thread_id=thread_id)
        *_, error, done = await waiting
        assert isinstance(error, Error)
        assert error.code == "model_failed"
        assert isinstance(done, Done)
        assert done.status == "error"
        waiting = asyncio.create_task(one_run(events))
        await agent.ask("Go on.", thread_id=thread_id)
        assert text(await waiting) == "You said: Go on."


async def test_it_goes_on_after_a_run(agent: AgentClient) -> None:
    """`after_run_id` tells of the runs that came meanwhile, in their order."""
    first = await agent.ask("First.")
    for question in ("Second.", "Third."):
        await agent.ask(question, thread_id=first.thread_id)
    async with aclosing(agent.threads.join_stream(first.thread_id, first.run_id)) as events:
        assert text(await one_run(events)) == "You said: Second."
        assert text(await one_run(events)) == "You said: Third."


@pytest.mark.parametrize("seed", range(6))
async def test_cuts_lose_and_repeat_nothing(
    agent: AgentClient, server: LocalServer, model: ModelServer, seed: int
) -> None:
    """Through a proxy that cuts and stalls, each token of each run comes once."""
    model.on("Count, through cuts.", SLOW)
    first = await agent.ask("First.")
    limits = Limits(connect_seconds=5.0, heartbeat_timeout_seconds=6.0)
    plan = scenario(seed, model_faults=False).plan
    async with (
        Proxy(server.url, plan) as proxy,
        AgentClient(proxy.url, limits=limits) as reader,
        aclosing(reader.threads.join_stream(first.thread_id, first.run_id)) as events,
    ):
        for _ in range(2):
            waiting = asyncio.create_task(one_run(events))
            await agent.ask("Count, through cuts.", thread_id=first.thread_id)
            assert text(await waiting) == SLOW.text


class Muted(Relay):
    """A way to the server on which a thread's stream tells of no run."""

    def __init__(self, server_url: str) -> None:
        super().__init__(server_url)
        self._is_open = self._is_asked = False
        self.listens = asyncio.Event()
        """Set when the stream is open and the runs so far have been read."""

    def changed(self, data: bytes, *, is_answer: bool) -> bytes:
        if is_answer and self._is_asked:
            self.listens.set()
        elif not is_answer:
            self._is_asked = self._is_open and b"/runs?" in data
            self._is_open = self._is_open or b"/stream?" in data
        return data.replace(b"event: metadata", b"event: whatever")


async def test_a_run_that_the_server_does_not_tell_of(
    agent: AgentClient, server: LocalServer
) -> None:
    """A run that was over before the server looked for it is told at its next heartbeat."""
    first = await agent.ask("First.")
    async with (
        Muted(server.url) as muted,
        AgentClient(muted.url) as reader,
        aclosing(reader.threads.join_stream(first.thread_id, first.run_id)) as events,
    ):
        waiting = asyncio.create_task(one_run(events))
        async with asyncio.timeout(60):
            await muted.listens.wait()
        await agent.ask("Second.", thread_id=first.thread_id)
        assert text(await waiting) == "You said: Second."


async def test_what_is_not_there_is_said(agent: AgentClient) -> None:
    """An unknown thread, an unknown run and what is no id are errors, not silence."""
    nobody = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(NotFound):
        await anext(agent.threads.join_stream(nobody))
    with pytest.raises(NotFound, match="no run"):
        await anext(agent.threads.join_stream(await agent.threads.create(), nobody))
    with pytest.raises(InvalidRequest):
        agent.threads.join_stream("../runs")


def test_a_script_reads_it_too(server: LocalServer) -> None:
    """The sync client iterates it as any other stream."""
    with SyncAgentClient(server.url) as sync:
        first = sync.ask("First.")
        sync.ask("Second.", thread_id=first.thread_id)
        read: list[AgentEvent] = []
        for event in sync.threads.join_stream(first.thread_id, first.run_id):
            read.append(event)
            if isinstance(event, Done):
                break
        assert text(read) == "You said: Second."
