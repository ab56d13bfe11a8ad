"""Graphs that nobody here wrote, on a plain `langgraph dev`: each mode the same, and faults.

They are installed in an environment of their own (`make graphs`): the packages ask for other
versions than this project's.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from client import AgentClient, Limits, Mode, Retry, Run, SteadyError, Token, ToolResult
from client.cli.local_server import LocalServer
from tests.faults.proxy import Proxy
from tests.faults.scenarios import Scenario, scenario
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

pytestmark = pytest.mark.timeout(300)

CONFIG = Path(__file__).parent / "foreign/scripts/langgraph.json"
LANGGRAPH = Path(__file__).parents[2] / ".venv-graphs/bin/langgraph"
SEEDS = int(os.environ.get("STEADY_GRAPH_FAULTS", "8"))  # of each graph
HANG_SECONDS = 90.0
AT_ONCE = 6
MODES: tuple[Mode, ...] = get_args(Mode)
ADD = Call("add_numbers", {"a": 2, "b": 3})


def said(text: str) -> Reply:
    """A text at a pace at which faults meet it."""
    return Reply(text, tokens_per_second=60.0)


@dataclass(frozen=True)
class Graph:
    """What a graph is asked, what the model says, and what has to reach the reader.

    `texts` are those of each node, by its path, one for each message, in any order.
    """

    question: str
    replies: tuple[Reply, ...]
    text: str
    calls: tuple[str, ...]
    texts: dict[str, tuple[str, ...]]
    results: tuple[str, ...] = ()
    state: Any = None

    @property
    def input(self) -> Any:
        return self.state or self.question


LONG = "Five, and here is why it is five and not six, at some length. "
GRAPHS = {
    "parent": Graph(
        "Add, parent.",
        (Reply("Adding.", tool_calls=[ADD]), said("It is 5."), said(LONG)),
        LONG,
        ("add_numbers",),
        {"adder|model": ("Adding.", "It is 5."), "writer|model": (LONG,)},
        ("5",),
    ),
    "supervisor": Graph(
        "Add, supervisor.",
        (
            Reply(tool_calls=[Call("transfer_to_adder")]),
            Reply("Adding.", tool_calls=[ADD]),
            said("It is 5, says the adder."),
            said(LONG),
        ),
        LONG,
        ("transfer_to_adder", "add_numbers", "transfer_back_to_supervisor"),
        {
            "adder|model": ("Adding.", "It is 5, says the adder."),
            "adder": ("Transferring back to supervisor",),
            "supervisor|agent": (LONG,),
        },
        ("5", "Successfully transferred back to supervisor"),
    ),
    "swarm": Graph(
        "Add, swarm.",
        (
            Reply("Adding.", tool_calls=[ADD]),
            Reply("To Bob.", tool_calls=[Call("transfer_to_bob")]),
            said(LONG),
        ),
        LONG,
        ("add_numbers", "transfer_to_bob"),
        {"alice|model": ("Adding.", "To Bob."), "bob|model": (LONG,)},
        ("5",),
    ),
    "deepagent": Graph(
        "Ask the researcher.",
        (
            Reply(
                "I ask.",
                tool_calls=[
                    Call("task", {"description": "Look it up.", "subagent_type": "researcher"})
                ],
            ),
            said(LONG),
        ),
        LONG,
        ("task",),
        {"model": ("I ask.", LONG)},
        ("Between the agents: it is 5.",),
    ),
    "map_reduce": Graph(
        "Write, then join.",
        (said(LONG),),
        LONG,
        (),
        {
            "write": tuple(f"You said: A line about {s}." for s in ("frames", "ids", "joins")),
            "join": (LONG,),
        },
    ),
    "no_messages": Graph(
        "Polish the joke about cats.",
        (said(LONG),),
        LONG,
        (),
        {"draft": ("You said: Draft a joke about cats.",), "polish": (LONG,)},
        state={"topic": "cats"},
    ),
}


class PlainServer(LocalServer):
    """`langgraph dev` of the other environment, with none of this project's code."""

    def _command(self) -> list[str]:
        return [
            *(str(LANGGRAPH), "dev", "--config", str(CONFIG), "--host", "127.0.0.1"),
            *("--port", str(self.port), "--n-jobs-per-worker", "10", "--no-browser", "--no-reload"),
        ]


@pytest.fixture(scope="module")
def plain(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    if not LANGGRAPH.exists():
        told = "The graphs of others are not installed: run `make graphs`."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
    env = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "test-key"}
    for graph in GRAPHS.values():
        model.on(graph.question, *graph.replies)
    model.on(
        "Look it up.", Reply("I look.", tool_calls=[ADD]), said("Between the agents: it is 5.")
    )
    with PlainServer(CONFIG, env=env, folder=tmp_path_factory.mktemp("plain")) as running:
        yield running


class Heard:
    """What a reader was given: each message's text by its node, and the tools' results."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}
        self.results: Counter[str] = Counter()

    async def read(self, run: Run, events: int | None = None) -> None:
        """Reads to the end, or leaves after so many events."""
        async with run:
            async for event in run:
                match event:
                    case Token(content=text, message_id=at, node=node):
                        self._texts[node, at] = self._texts.get((node, at), "") + text
                    case Retry(message_id=at):
                        for key in [key for key in self._texts if key[1] == at]:
                            del self._texts[key]
                    case ToolResult(content=content):
                        self.results[content] += 1
                if events is not None and (events := events - 1) <= 0:
                    return

    @property
    def texts(self) -> dict[str, tuple[str, ...]]:
        by_node: dict[str, list[str]] = {}
        for (node, _), text in self._texts.items():
            by_node.setdefault(node, []).append(text)
        return {node: tuple(sorted(texts)) for node, texts in by_node.items()}


def wanted(graph: Graph) -> dict[str, tuple[str, ...]]:
    return {node: tuple(sorted(texts)) for node, texts in graph.texts.items()}


Read = tuple[Run, Heard]


@pytest.fixture(scope="module")
async def reads(plain: LocalServer) -> AsyncIterator[dict[tuple[str, Mode], asyncio.Task[Read]]]:
    """Each graph in each mode, some at a time: a plain server takes a second to begin a run."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def read(name: str, mode: Mode) -> Read:
        heard = Heard()
        async with slots:
            run = client.stream(GRAPHS[name].input, assistant_id=name, modes=mode)
            await heard.read(run)
        return run, heard

    async with AgentClient(plain.url) as client:
        tasks = {at: asyncio.create_task(read(*at)) for at in product(GRAPHS, MODES)}
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GRAPHS)
async def test_text_and_calls_are_the_same_in_each_mode(
    reads: dict[tuple[str, Mode], asyncio.Task[Read]], name: str, mode: Mode
) -> None:
    """Whatever the graph and the mode: one text, the same calls; tokens where asked for."""
    graph = GRAPHS[name]
    run, heard = await reads[name, mode]
    assert run.done is not None
    assert run.done.status == "success"
    assert await run.text() == graph.text
    assert tuple(call["name"] for call in run.tool_calls) == graph.calls
    assert heard.texts == (wanted(graph) if mode == "messages" else {})
    if mode == "messages":
        assert set(graph.results) <= heard.results.keys()
        assert set(heard.results.values()) <= {1}


@pytest.mark.parametrize("name", GRAPHS)
async def test_the_contract_holds_under_faults(plain: LocalServer, name: str) -> None:
    """Under the fault suite's seeds each stream brings everything once, or the right error."""
    seeds = [scenario(seed, model_faults=False) for seed in range(SEEDS)]
    outcomes = await asyncio.gather(*(judged(name, each, plain.url) for each in seeds))
    assert [each for each in outcomes if each] == []


async def judged(name: str, made: Scenario, url: str) -> str:
    """What was wrong with a stream under the scenario's faults; empty if nothing was."""
    graph, heard = GRAPHS[name], Heard()
    limits = Limits(
        connect_seconds=5.0,
        heartbeat_timeout_seconds=6.0,
        reconnect_seconds=made.reconnect_seconds,
    )
    try:
        async with (
            asyncio.timeout(HANG_SECONDS),
            Proxy(url, made.plan) as proxy,
            AgentClient(proxy.url, limits=limits) as agent,
        ):
            run = agent.stream(graph.input, assistant_id=name, modes=made.modes)
            for events in made.leaves:
                await heard.read(run, events)
                if run.done is None:
                    run = agent.runs.join(str(run.thread_id), str(run.run_id), run.last_event_id)
            if run.done is None:
                await heard.read(run)
            got = await run.text(), tuple(call["name"] for call in run.tool_calls), heard.texts
    except SteadyError as error:
        return "" if error.code in made.allowed else f"{made.seed}: {error.code} {error.message}"
    except TimeoutError:
        return f"{made.seed}: it hangs"
    texts = wanted(graph) if "messages" in made.modes else {}
    return "" if got == (graph.text, graph.calls, texts) else f"{made.seed}: {got}"
