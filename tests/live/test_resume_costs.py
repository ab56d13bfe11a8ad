"""What comes over the socket when a run is joined at its end, and when a long thread is opened."""

from collections.abc import AsyncIterator

import h11
import httpx
import orjson
import pytest

from client import AgentClient, Done, Token
from client.cli.local_server import LocalServer
from tests.faults.plan import NetFault
from tests.faults.proxy import Proxy
from tests.relay import ByteCounter

MOST_BYTES = 5_000
QUESTION = "stream 20000 tokens"
TURNS = 400


@pytest.fixture
async def counter(server: LocalServer) -> AsyncIterator[ByteCounter]:
    async with ByteCounter(server.url) as counting:
        yield counting


@pytest.fixture
async def counted(counter: ByteCounter) -> AsyncIterator[AgentClient]:
    async with AgentClient(counter.url) as client:
        yield client


async def test_a_run_costs_few_requests(counted: AgentClient) -> None:
    """Its stream tells its end, with the thread's state; the thread is looked at before."""
    asked = list[tuple[str, str]]()

    async def note(request: httpx.Request) -> None:
        asked.append((request.method, request.url.path.rpartition("/")[2]))

    thread_id = await counted.threads.create()
    counted.sdk.http.client.event_hooks["request"].append(note)
    run = counted.stream("Hello.", thread_id=thread_id)
    told = await run.final_state()
    assert asked == [("GET", thread_id), ("POST", "stream")]
    assert told == (await counted.threads.get(thread_id))["values"]


async def test_a_join_at_the_end_costs_what_was_missed(
    counted: AgentClient, counter: ByteCounter
) -> None:
    """A long run is joined at its end or after its last token for 5 kB at most; its text and state
    are fetched when they are asked for."""
    after_token = ""
    async with counted.stream(QUESTION) as run:
        async for event in run:
            if isinstance(event, Token):
                after_token = str(run.last_event_id)
    where = str(run.thread_id), str(run.run_id)
    text = await run.text()
    assert len(text) > 20 * MOST_BYTES
    for last_event_id in (str(run.last_event_id), after_token):
        counter.received = 0
        joined = counted.runs.join(*where, last_event_id)
        async with joined:
            events = [event async for event in joined]
        assert counter.received <= MOST_BYTES
        assert not [event for event in events if isinstance(event, Token)]
        assert isinstance(events[-1], Done)
        assert (events[-1].status, events[-1].finish_reason) == ("success", "stop")
        assert await joined.text() == text
        assert await joined.final_state() == await run.final_state()
        assert counter.received > len(text)


async def test_texts_are_asked_for_until_they_come(agent: AgentClient, server: LocalServer) -> None:
    """A server that refuses for a while when a joined run's texts are fetched fails nothing."""
    refusals = [NetFault("status"), NetFault("lost"), NetFault("unsent")]

    def refuse(request: h11.Request, body: bytes) -> NetFault | None:
        return refusals.pop() if refusals and b"/state/" in request.target else None

    async with agent.stream("Hello.") as run:
        await run.text()
    where = str(run.thread_id), str(run.run_id), run.last_event_id
    async with Proxy(server.url, refuse) as proxy, AgentClient(proxy.url) as client:
        assert await client.runs.join(*where).text() == await run.text()
    assert not refusals


async def test_the_route_gives_what_was_missed(counted: AgentClient, counter: ByteCounter) -> None:
    """The same of the events that a browser reads."""
    body = {"message": QUESTION}
    event_id = ""
    async with httpx.AsyncClient(base_url=counter.url, timeout=60) as http:
        async with http.stream("POST", "/agent/stream", json=body) as response:
            async for line in response.aiter_lines():
                event_id = line.removeprefix("id: ") if line.startswith("id: ") else event_id
        counter.received = 0
        thread_id, run_id, _ = event_id.split("/", 2)
        rest = await http.get(
            f"/agent/stream/{thread_id}/{run_id}", headers={"Last-Event-ID": event_id}
        )
    assert '"type":"done"' in rest.text
    assert counter.received <= MOST_BYTES


async def test_a_long_thread_is_read_once(counted: AgentClient, counter: ByteCounter) -> None:
    """The messages of a thread of 400 turns come over the wire once."""
    thread_id = await counted.threads.create({"graph_id": "agent"})
    messages = [
        {"role": role, "content": f"{turn} {'word ' * 100}"}
        for turn in range(TURNS)
        for role in ("user", "assistant")
    ]
    await counted.sdk.threads.update_state(thread_id, {"messages": messages}, as_node="__start__")
    counter.received = 0
    read = await counted.threads.messages(thread_id)
    assert len(read) == 2 * TURNS
    assert counter.received <= len(orjson.dumps(read)) + MOST_BYTES
