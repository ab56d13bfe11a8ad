"""What long threads cost, and how soon a stopped run lets go of its model.

python -m tests.bench.threads stock 400     prints, as JSON, what a thread costs in process
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from client import AgentClient, Token
from client.local import LocalServer, find_config
from tests.bench.contestants import ROOT, ask_worker, environment
from tests.model_server import ModelServer

SIDE = "x" * 480  # a question; the answer repeats it, so that a turn has about 1 kB
EARLY = range(5, 16)


@dataclass(frozen=True)
class Grown:
    """A thread in SQLite after some turns; what a turn cost about turn 10, and at the end."""

    megabytes: float
    early_ms: float
    late_ms: float


def growth(turns: int, model: ModelServer) -> dict[str, Grown]:
    """The graphs in process, with SQLite; and our server, with all that it keeps on disk."""
    env = environment(model.url)
    found = {
        name: Grown(**ask_worker("tests.bench.threads", kind, str(turns), env=env))
        for name, kind in [("LangGraph in process", "stock"), ("ours in process", "ours")]
    }
    return {**found, "steadystream": asyncio.run(_server(turns, model))}


async def _server(turns: int, model: ModelServer) -> Grown:
    with TemporaryDirectory() as folder:
        server = LocalServer(find_config(ROOT), env=environment(model.url), folder=Path(folder))
        with server:
            assert server.process
            process = psutil.Process(server.process.pid)

            def cpu() -> float:
                times = [p.cpu_times() for p in [process, *process.children(recursive=True)]]
                return sum(t.user + t.system for t in times)

            async with AgentClient(server.url) as agent:
                thread_id = await agent.threads.create()

                async def say(text: str) -> None:
                    await agent.stream(text, thread_id=thread_id).text()

                costs = await _costs(turns, say, cpu)
            return _grown(Path(folder), costs)


@asynccontextmanager
async def _stock_graph(file: Path) -> AsyncIterator[Any]:
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        yield create_agent(ChatOpenAI(streaming=True), checkpointer=saver)


@asynccontextmanager
async def _our_graph(file: Path) -> AsyncIterator[Any]:
    os.environ["STEADY_THREADS_FILE"] = str(file)
    graph, checkpoints = import_module("agent.graph"), import_module("agent.checkpoints")
    async with checkpoints.checkpointer() as saver:
        yield graph.graph.copy({"checkpointer": saver})


async def _inside(kind: str, turns: int) -> Grown:
    with TemporaryDirectory() as folder:
        made = {"stock": _stock_graph, "ours": _our_graph}[kind]
        async with made(Path(folder) / "threads.sqlite") as graph:

            async def say(text: str) -> None:
                asked = {"messages": [HumanMessage(text)]}
                await graph.ainvoke(asked, {"configurable": {"thread_id": "1"}})

            costs = await _costs(turns, say, time.process_time)
            return _grown(Path(folder), costs)


async def _costs(
    turns: int, say: Callable[[str], Awaitable[None]], cpu: Callable[[], float]
) -> list[float]:
    """CPU milliseconds of each turn."""
    costs = []
    for number in range(turns):
        before = cpu()
        await say(f"{SIDE} {number}")
        costs.append(1000 * (cpu() - before))
    return costs


def _grown(folder: Path, costs: list[float]) -> Grown:
    kept = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    late = costs[-max(len(costs) // 16, 1) :]
    return Grown(kept / 1e6, statistics.mean(costs[EARLY[0] : EARLY[-1]]), statistics.mean(late))


def stops_ms(times: int, model: ModelServer) -> list[float]:
    """From the call that stops a run to the close of its connection to the model."""
    return asyncio.run(_stops_ms(times, model))


async def _stops_ms(times: int, model: ModelServer) -> list[float]:
    found = []
    with TemporaryDirectory() as folder:
        env = environment(model.url)
        with LocalServer(find_config(ROOT), env=env, folder=Path(folder)) as server:
            async with AgentClient(server.url) as agent:
                for number in range(times + 1):
                    taken = await _stop_ms(agent, model)
                    found += [taken] if number else []  # the first warms up
    return found


async def _stop_ms(agent: AgentClient, model: ModelServer) -> float:
    closed = model.disconnects + 1
    async with agent.stream("stream 900 tokens at 60 per second") as run:
        async for event in run:
            if isinstance(event, Token):
                break
        started = time.perf_counter()
        stop = asyncio.create_task(run.stop())
        await asyncio.to_thread(model.wait_for, lambda it: it.disconnects == closed, 10.0)
        taken = 1000 * (time.perf_counter() - started)
        await stop
    return taken


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_inside(sys.argv[1], int(sys.argv[2]))))))
