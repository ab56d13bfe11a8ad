"""A run's events: every reader of every process gets the same ones, wherever the run is."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import httpx

from client import AgentClient
from client.delivery.wire import Part, read_parts
from tests.model_server import ModelServer, Reply
from tests.scale.cluster import Cluster, Process

TOKENS = tuple(f"{' ' if n else ''}word{n}" for n in range(100))
BODY = {
    "assistant_id": "agent",
    "stream_mode": ["messages-tuple", "values"],
    "stream_resumable": True,
    "on_disconnect": "continue",
    "if_not_exists": "create",
}


async def test_each_reader_gets_the_same(cluster: Cluster, model: ModelServer) -> None:
    """Live or later, here or there, from the beginning or any event: the same bytes, once."""
    model.on("The same.", Reply(TOKENS, tokens_per_second=50.0))
    here, there = cluster.processes
    heard: list[Part] = []
    joined: list[asyncio.Task[list[Part]]] = []
    runs = runs_of_new_thread()
    async for part in begun(here, runs, "The same."):
        heard.append(part)
        if len(heard) == 1:
            run = f"{runs}/{part.data['run_id']}"
            joined = [asyncio.create_task(after("-1", each, run)) for each in (here, there)]
    assert [await each for each in joined] == [heard, heard]
    assert [part.name for part in (heard[0], heard[-1])] == ["metadata", "end"]
    pieces = [part.data for part in heard if part.name == "messages"]
    assert text_of(heard) == "".join(TOKENS)
    assert {metadata["langgraph_node"] for _, metadata in pieces} == {"model"}
    for number in (0, len(heard) // 2, len(heard) - 2):
        event_id = str(heard[number].id)
        for process in (here, there):
            assert await after(event_id, process, run) == heard[number + 1 :]


async def test_an_end_that_is_told_is_believed(cluster: Cluster) -> None:
    """A run that has ended well needs one request more, for the state: no status, and no join."""
    asked: list[str] = []

    async def note(request: httpx.Request) -> None:
        asked.append(f"{request.method} {request.url.path.rpartition('/')[2]}")

    async with AgentClient(cluster.processes[0].url) as agent:
        agent.sdk.http.client.event_hooks["request"].append(note)
        assert await agent.stream("How is it?").text() == "You said: How is it?"
    assert asked == ["POST stream", "GET state"]


async def test_redis_forgets_everything(cluster: Cluster, model: ModelServer) -> None:
    """Readers of a run that goes on get the rest of it, whole events, through each process."""
    model.on("Forget.", Reply(TOKENS, tokens_per_second=50.0))
    here, there = cluster.processes
    heard: list[Part] = []
    joined: asyncio.Task[list[Part]] | None = None
    runs = runs_of_new_thread()
    async for part in begun(here, runs, "Forget."):
        heard.append(part)
        run = f"{runs}/{heard[0].data['run_id']}"
        pieces = [each for each in heard if each.name == "messages"]
        if pieces and joined is None:
            joined = asyncio.create_task(after("-1", there, run))
        if len(pieces) == 5:
            command = ("redis-cli", "-p", str(cluster.redis.port), "flushall")
            await (await asyncio.create_subprocess_exec(*command)).wait()
    assert text_of(heard) == "".join(TOKENS)
    assert joined
    for found in (await joined, await after("-1", there, run)):
        assert found[-1] == heard[-1]
        pieces = [part for part in found if part.name == "messages"]
        assert "".join(TOKENS).endswith(text_of(pieces[-2:]))
        assert {part.data[1]["langgraph_node"] for part in pieces} == {"model"}


async def test_an_event_is_written_once(cluster: Cluster) -> None:
    """By the run's last writer; sent again, it is known; what Redis forgot is written again.

    A brief one has what is not empty, and of the metadata what the client reads.
    """
    lines = await cluster.processes[0].output_of("tests.scale.event_writes")
    metadata = "{'langgraph_node': 'model'}"
    assert lines[-15:] == [
        "begins written",
        "begins known",
        "next written",
        "next known",
        "taken-over written",
        "late refused",
        "forgotten written",
        "stopped written",
        *(
            f"messages ['{text}', {metadata}]"
            for text in ("begins", "next", "taken-over", "forgotten")
        ),
        "end stopped",
        'data: [{"content":"Hi.","id":"1"},{"langgraph_node":"model"}]',
        'data: ["no message",{"langgraph_node":"model","thread_id":"2"}]',
    ]


def runs_of_new_thread() -> str:
    return f"/threads/{uuid.uuid4()}/runs"


async def begun(process: Process, runs: str, question: str) -> AsyncIterator[Part]:
    """The events of a run that is begun now."""
    body = {**BODY, "input": {"messages": [{"type": "human", "content": question}]}}
    async with (
        httpx.AsyncClient(base_url=process.url, timeout=60.0, trust_env=False) as http,
        http.stream("POST", f"{runs}/stream", json=body) as response,
    ):
        async for part in parts_of(response):
            yield part


async def after(event_id: str, process: Process, run: str) -> list[Part]:
    """The run's events after this one."""
    headers = {"Last-Event-ID": event_id}
    async with (
        httpx.AsyncClient(base_url=process.url, timeout=60.0, trust_env=False) as http,
        http.stream("GET", f"{run}/stream", headers=headers) as response,
    ):
        return [part async for part in parts_of(response)]


async def parts_of(response: httpx.Response) -> AsyncIterator[Part]:
    assert response.is_success, await response.aread()
    async for parts in read_parts(response):
        for part in parts:
            yield part


def text_of(parts: list[Part]) -> str:
    return "".join(part.data[0]["content"] for part in parts if part.name == "messages")
