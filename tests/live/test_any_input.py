"""Any input: content blocks, any state, none; options of a run; the thread's own assistant."""

import asyncio
import re
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from client import AgentClient, InvalidRequest, NotFound, Run, RunFailed, Token
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply

PIXEL = "R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
IMAGE = {"type": "image", "base64": PIXEL, "mime_type": "image/gif"}


async def test_content_blocks_reach_the_model(agent: AgentClient, model: ModelServer) -> None:
    """An image goes to the model with its text, and stays in the thread."""
    model.on("What is this?", Reply("A pixel."))
    blocks = [{"type": "text", "text": "What is this?"}, IMAGE]
    answer = await agent.ask(blocks)
    assert answer.text == "A pixel."
    sent = next(r for r in reversed(model.requests) if PIXEL in str(r))
    kinds = [part["type"] for part in sent["messages"][-1]["content"]]
    assert kinds == ["text", "image_url"]
    assert (await agent.threads.messages(answer.thread_id))[0]["content"] == blocks


async def test_a_list_of_messages_is_a_conversation(agent: AgentClient) -> None:
    """Messages with their roles are what the run begins with."""
    given = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    answer = await agent.ask([*given, {"role": "user", "content": "Again?"}])
    assert answer.text == "You said: Again?"
    assert len(answer.state["messages"]) == 4


async def test_a_state_goes_to_the_graph_as_it_is(graphs: AgentClient) -> None:
    """A graph with a state of its own is given its values, and its last state is had whole."""
    run = graphs.stream({"city": "Lima"}, assistant_id="trip")
    assert await run.text() == ""
    assert (await run.final_state())["city"] == "Lima"


@pytest.mark.parametrize("given", ["Lima?", {"town": "Lima"}, {"city": "Lima", "town": 1}])
async def test_what_the_schema_does_not_have_is_refused(graphs: AgentClient, given: Any) -> None:
    """Servers drop unknown keys without a word; here the schema is told, and nothing runs."""
    with pytest.raises(InvalidRequest, match=r"city \(string\)"):
        await graphs.ask(given, assistant_id="trip")


async def test_streams_that_begin_together_ask_for_one_schema(graphs: AgentClient) -> None:
    """A server that makes its schemas anew each time makes them once, not for each stream."""
    asked = list[str]()

    async def note(request: httpx.Request) -> None:
        asked.append(request.url.path.rpartition("/")[2])

    graphs.sdk.http.client.event_hooks["request"].append(note)
    runs = [graphs.stream({"city": "Lima"}, assistant_id="trip") for _ in range(5)]
    await asyncio.gather(*(run.text() for run in runs))
    assert asked.count("schemas") == 1


@pytest.mark.parametrize("given", ["  ", [], [{"type": "text", "text": " "}], 7, [1], [{"a": 1}]])
async def test_what_is_no_input_is_refused_at_once(agent: AgentClient, given: Any) -> None:
    """What nobody can mean needs no server to be refused."""
    with pytest.raises(InvalidRequest):
        agent.stream(given)
    with pytest.raises(InvalidRequest, match="no input"):
        agent.stream(None)


async def test_a_run_pauses_where_it_is_told_to(agent: AgentClient, model: ModelServer) -> None:
    """`interrupt_before` ends the run `interrupted`; `continue_run` goes on, as no input does."""
    for go_on in (agent.continue_run, lambda thread: agent.stream(None, thread_id=thread)):
        run = agent.stream("Hello.", interrupt_before=["model"])
        assert await run.text() == ""
        assert run.done is not None
        assert run.done.status == "interrupted"
        assert not run.interrupts
        assert await go_on(str(run.thread_id)).text() == "You said: Hello."


async def test_options_reach_the_run(agent: AgentClient) -> None:
    """`config`, `metadata` and `durability` are the run's."""
    run = agent.stream(
        "Hello.",
        config={"tags": ["mine"], "recursion_limit": 17, "metadata": {"b": 2}},
        metadata={"a": 1},
        durability="exit",
    )
    await run.text()
    made = await agent.runs.get(str(run.thread_id), str(run.run_id))
    assert made["kwargs"]["config"]["recursion_limit"] == 17
    assert made["kwargs"]["config"]["tags"] == ["mine"]
    assert {"a": 1, "b": 2}.items() <= made["metadata"].items()
    with pytest.raises(InvalidRequest, match="sync, async, exit"):
        agent.stream("Hello.", durability="never")  # type: ignore[arg-type]


async def test_a_limit_of_steps_is_the_runs(agent: AgentClient) -> None:
    """A run that is given too few steps fails, and says so."""
    with pytest.raises(RunFailed, match="limit of steps"):
        await agent.stream("Hello.", config={"recursion_limit": 1}).text()


async def test_what_continues_a_thread_is_its_own_assistants(agent: AgentClient) -> None:
    """`regenerate` and `continue_run` ask the assistant that the thread has, not `agent`."""
    first = await agent.ask("Hello.", assistant_id="chat")
    again = agent.regenerate(first.thread_id)
    assert await again.text() == "You said: Hello."
    run = await agent.runs.get(first.thread_id, str(again.run_id))
    assert run["kwargs"]["config"]["configurable"]["graph_id"] == "chat"
    paused = agent.stream("Hi.", assistant_id="chat", interrupt_before="*")
    await paused.text()
    rest = agent.continue_run(str(paused.thread_id))
    await rest.text()
    run = await agent.runs.get(str(paused.thread_id), str(rest.run_id))
    assert run["kwargs"]["config"]["configurable"]["graph_id"] == "chat"


class Counting(httpx.AsyncHTTPTransport):
    """Counts the requests of a client, by method and path."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", request.url.path)
        self.requests.append(f"{request.method} {path}")
        return await super().handle_async_request(request)


async def graph_of(agent: AgentClient, run: Run) -> str:
    """The graph of a run, by the server's word."""
    made = await agent.runs.get(str(run.thread_id), str(run.run_id))
    return str(made["kwargs"]["config"]["configurable"]["graph_id"])


async def test_a_thread_goes_on_with_its_own_assistant(server: LocalServer) -> None:
    """Whoever says something on a thread of `chat` is answered by it; a new one has `agent`."""
    async with AgentClient(server.url) as agent:
        first = await agent.ask("Hello.", assistant_id="chat")
        run = agent.stream("Again.", thread_id=first.thread_id)
        assert await run.text() == "You said: Again."
        assert await graph_of(agent, run) == "chat"
    program = "import sys, client; a = client.SyncAgentClient(sys.argv[1]);"
    program += "print(a.ask('More.', thread_id=sys.argv[2]).run_id)"
    command = [sys.executable, "-c", program, server.url, first.thread_id]
    other = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    run_id = (await other.communicate())[0].decode().strip()
    async with AgentClient(server.url) as agent:
        made = await agent.runs.get(first.thread_id, run_id)
        assert made["kwargs"]["config"]["configurable"]["graph_id"] == "chat"
        created = await agent.threads.create()
        run = agent.stream("Hello.", thread_id=created)
        await run.text()
        assert await graph_of(agent, run) == "agent"
        with pytest.raises(NotFound):
            await agent.ask("Hello?", thread_id=str(uuid.uuid4()))


async def test_a_known_thread_costs_no_request(server: LocalServer) -> None:
    """Only a thread that this program never ran anything on is asked for its assistant."""
    transport = Counting()
    async with AgentClient(server.url, transport=transport) as agent:
        first = await agent.ask("Hello.")
        new = list(transport.requests)
        transport.requests.clear()
        await agent.ask("Again.", thread_id=first.thread_id)
        assert transport.requests == new
        created = await agent.threads.create()
        transport.requests.clear()
        await agent.ask("Hello.", thread_id=created)
        assert transport.requests == ["GET /threads/ID", *new]


async def test_asking_returns_all_that_there_is(agent: AgentClient, model: ModelServer) -> None:
    """`ask` gives the text, the calls, the tokens, the thread and the state."""
    answer = await agent.ask('call calculate {"expression": "6 * 7"}')
    assert str(answer) == answer.text
    assert [call["name"] for call in answer.tool_calls] == ["calculate"]
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0
    assert answer.status == "success"
    assert await agent.threads.messages(answer.thread_id) == answer.state["messages"]
    assert answer.structured_response is None


async def test_two_ask_at_once(agent: AgentClient) -> None:
    """One client serves many runs at a time."""
    answers = await asyncio.gather(*(agent.ask(f"Number {n}.") for n in range(5)))
    assert [a.text for a in answers] == [f"You said: Number {n}." for n in range(5)]


async def test_tokens_of_a_state_without_messages_are_told(graphs: AgentClient) -> None:
    """Models speak in any graph; there the text is the last that was said."""
    run = graphs.stream({"topic": "cats"}, assistant_id="joke")
    tokens = [event async for event in run if isinstance(event, Token)]
    assert "".join(token.content for token in tokens) == "You said: A joke about cats."
    assert await run.text() == "You said: A joke about cats."
