"""Tokens are what is meant for the person: graphs whose models also speak to the program."""

import pytest
from langgraph_sdk import get_client

from client import AgentClient, Event, Mode, Token, ToolCall, ToolCallDelta, Update, Values
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")
SECRET = "between the programs"


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    call = Call("ask_expert", {"topic": "frames"})
    model.on("Ask the expert.", Reply("I ask.", tool_calls=[call]), Reply("He knows."))
    model.on("Expert on frames?", Reply(f"This is {SECRET}."))
    model.on("Which department?", Reply(f'{{"department": "{SECRET}"}}'))
    by_call = Reply(tool_calls=[Call("Route", {"department": SECRET})])
    model.on("Which department, by call?", by_call)
    model.on("Draft it.", Reply(f"A draft, {SECRET}."))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("graph", "question", "answer"),
    [
        ("inside_tool", "Ask the expert.", "He knows."),
        ("structured", "Hello?", "You said: Hello?"),
        ("subgraph", "Hello?", "You said: Hello?"),
    ],
)
async def test_the_answer_is_the_agents_own_in_every_mode(
    graphs: AgentClient, graph: str, question: str, answer: str, mode: Mode
) -> None:
    """What models say in tools, structured output and subgraphs is never mixed into the text."""
    async with graphs.stream(question, assistant_id=graph, modes=[mode]) as run:
        assert await run.text() == answer


async def test_calls_in_tools_make_no_tokens(graphs: AgentClient) -> None:
    """No token carries what a model says inside a tool; `events` mode shows it."""
    modes: list[Mode] = ["messages", "events"]
    async with graphs.stream("Ask the expert.", assistant_id="inside_tool", modes=modes) as run:
        events = [event async for event in run]
    assert SECRET not in "".join(e.content for e in events if isinstance(e, Token))
    assert any(SECRET in str(e.data) for e in events if isinstance(e, Event))


async def test_an_inner_graph_speaks_under_its_path(graphs: AgentClient) -> None:
    """A graph that a node invokes streams under its path, and is no part of the text."""
    async with graphs.stream("Hello?", assistant_id="subgraph") as run:
        events = [event async for event in run]
        assert await run.text() == "You said: Hello?"
    texts: dict[str, str] = {}
    for event in events:
        if isinstance(event, Token):
            texts[event.node] = texts.get(event.node, "") + event.content
    assert texts == {"drafting|model": f"A draft, {SECRET}.", "answer": "You said: Hello?"}


@pytest.mark.parametrize(
    ("nodes", "graph", "text"),
    [
        (["drafting"], "subgraph", f"A draft, {SECRET}."),
        (["drafting|model"], "subgraph", f"A draft, {SECRET}."),
        (["model"], "subgraph", ""),
        (["answer"], "subgraph", "You said: Hello?"),
        (["tools"], "inside_tool", f"This is {SECRET}."),
    ],
)
async def test_nodes_may_be_a_path(
    graphs: AgentClient, nodes: list[str], graph: str, text: str
) -> None:
    """A path chooses a node and all within it, in the tokens and in the text."""
    question = "Hello?" if graph == "subgraph" else "Ask the expert."
    async with graphs.stream(question, assistant_id=graph, nodes=nodes) as run:
        events = [event async for event in run]
        assert await run.text() == text
    assert "".join(e.content for e in events if isinstance(e, Token)) == text


async def test_structured_output_comes_under_its_own_node(graphs: AgentClient) -> None:
    """A node's structured output has that node's name, never the answer's."""
    async with graphs.stream("Hello?", assistant_id="structured") as run:
        events = [event async for event in run]
    assert {e.node for e in events if isinstance(e, Token) and SECRET in e.content} == {"route"}
    assert {e.node for e in events if isinstance(e, ToolCall)} == {"call_route"}
    assert "".join(e.content for e in events if isinstance(e, Token) and e.node == "answer") == (
        "You said: Hello?"
    )


async def test_nodes_choose_who_speaks(graphs: AgentClient) -> None:
    """With `nodes` only theirs are tokens and tool calls."""
    async with graphs.stream("Hello?", assistant_id="structured", nodes=["answer"]) as run:
        events = [event async for event in run]
        assert run.tool_calls == []
    assert not [e for e in events if isinstance(e, ToolCall | ToolCallDelta)]
    assert "".join(e.content for e in events if isinstance(e, Token)) == "You said: Hello?"


async def test_a_summary_is_no_answer(graphs: AgentClient, model: ModelServer) -> None:
    """The call in which middleware summarizes the thread leaves no token and no text."""
    async with graphs.stream("First.", assistant_id="summarizing") as first:
        await first.text()
    asked = len(model.requests)
    async with graphs.stream(
        "Second.",
        assistant_id="summarizing",
        thread_id=first.thread_id,
        modes=["messages", "events"],
    ) as run:
        events = [event async for event in run]
        question = model.requests[-1]["messages"][-1]["content"]
        assert question.endswith("Second.")
        assert await run.text() == f"You said: {question}"
    assert len(model.requests) == asked + 2
    assert "".join(e.content for e in events if isinstance(e, Token)) == f"You said: {question}"


async def test_a_run_begun_with_subgraphs_is_joined_without_their_words(
    graphs_server: LocalServer, graphs: AgentClient
) -> None:
    """Who joins a run that somebody streams with its inner graphs reads its own state alone."""
    stock = get_client(url=graphs_server.url)
    thread = await stock.threads.create()
    run = await stock.runs.create(
        thread["thread_id"],
        "subgraph",
        input={"messages": [{"role": "user", "content": "Hello?"}]},
        stream_mode=["values", "updates"],
        stream_subgraphs=True,
        stream_resumable=True,
    )
    async with graphs.runs.join(thread["thread_id"], run["run_id"]) as joined:
        events = [event async for event in joined]
    assert await joined.text() == "You said: Hello?"
    told = [event for event in events if isinstance(event, Update | Values)]
    assert told
    assert SECRET not in str(told)


@pytest.mark.parametrize("mode", MODES)
async def test_a_state_may_be_anything(graphs: AgentClient, mode: Mode) -> None:
    """A graph whose state is a number streams it, and ends like any other."""
    async with graphs.stream("How many?", assistant_id="counting", modes=[mode]) as run:
        events = [event async for event in run]
    assert await run.final_state() == 1
    assert mode != "values" or Values(1) in events
