"""Readers who leave a stream before its end: they are told so, and the run is as they wished."""

import asyncio

import httpx
import pytest

from client import AgentClient, ModelFailed, StreamLost, Token
from client.cli.local_server import LocalServer
from tests.model_server import Fault, ModelServer, Reply
from tests.runs import ended

LONG = "stream 120 tokens at 10 per second"


async def test_who_is_cancelled_in_a_stream_gets_no_half_answer(
    agent: AgentClient, model: ModelServer
) -> None:
    """After a reading that was given up, every further one raises; a join has the whole answer."""
    run = agent.stream(LONG)
    async for event in run:
        if isinstance(event, Token):
            break
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run.text(), 0.05)
    for ask in (run.text, run.final_state, lambda: anext(run)):
        with pytest.raises(StreamLost, match="left before its end") as lost:
            await ask()
        assert lost.value.run_id == run.run_id
        assert lost.value.text
    model.hurry()
    assert len((await agent.runs.join(str(run.thread_id), str(run.run_id)).text()).split()) == 120


async def test_who_left_early_is_not_told_that_it_was_all(agent: AgentClient) -> None:
    """Leaving the context at the first token, and then asking for the text, is an error."""
    async with agent.stream(LONG) as run:
        async for event in run:
            if isinstance(event, Token):
                break
    with pytest.raises(StreamLost, match="left before its end"):
        await run.text()


async def test_a_failure_is_told_to_whoever_reads_on(
    agent: AgentClient, model: ModelServer
) -> None:
    """A stream that has raised raises the same again, and never just ends."""
    model.on("Break.", Reply("No use.", fault=Fault("disconnect", after_tokens=1)))
    run = agent.stream("Break.")
    with pytest.raises(ModelFailed) as first:
        await run.text()
    with pytest.raises(ModelFailed) as second:
        await anext(run)
    assert second.value is first.value


class HeldHeads(httpx.AsyncHTTPTransport):
    """Holds back the answers to requests that start a run, until `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.release = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if request.url.path.endswith("/runs/stream"):
            self.arrived.set()
            await self.release.wait()
        return response


async def test_a_run_that_is_left_before_its_answer_is_cancelled(
    server: LocalServer, agent: AgentClient
) -> None:
    """With `on_disconnect="cancel"`, also where the answer to the request never arrived."""
    thread_id = await agent.threads.create()
    async with HeldHeads() as slow, AgentClient(server.url, transport=slow) as other:
        run = other.stream(
            "stream 900 tokens at 30 per second", thread_id=thread_id, on_disconnect="cancel"
        )

        async def read() -> None:
            async with run:
                await anext(run)

        reading = asyncio.create_task(read())
        await slow.arrived.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert await ended(agent, thread_id) == ["interrupted"]


async def test_a_stop_reaches_a_run_whose_answer_is_on_its_way(
    server: LocalServer, agent: AgentClient
) -> None:
    """The run is found by its request, and stopped."""
    thread_id = await agent.threads.create()
    async with HeldHeads() as slow, AgentClient(server.url, transport=slow) as other:
        run = other.stream("stream 900 tokens at 30 per second", thread_id=thread_id)
        reading = asyncio.create_task(run.text())
        await slow.arrived.wait()
        await run.stop()
        assert await ended(agent, thread_id) == ["interrupted"]
        slow.release.set()
        await reading
    assert run.done
    assert run.done.status == "stopped"


async def test_a_request_is_known_however_many_came_after(agent: AgentClient) -> None:
    """Asked again with its key after a dozen other turns, a run is not started twice."""
    key = "7d6f5e4c-0000-4000-8000-00000000000a"
    thread_id = await agent.threads.create()
    first = agent.stream("Once.", thread_id=thread_id, idempotency_key=key)
    await first.text()
    for number in range(12):
        await agent.stream(f"Turn {number}.", thread_id=thread_id).text()
    again = agent.stream("Once.", thread_id=thread_id, idempotency_key=key)
    await again.text()
    assert again.run_id == first.run_id
