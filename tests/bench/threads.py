"""What long threads cost, and how soon a stopped run lets go of its model.

python -m tests.bench.threads 400       prints, as JSON, what LangGraph's own agent state costs
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

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
    """Of a server of ours, all it keeps on disk; of LangGraph's own state in process."""
    whole = ask_worker("tests.bench.threads", str(turns), env=environment(model.url))
    return {
        "LangGraph in process": Grown(**whole),
        "steadystream": asyncio.run(_ours(turns, model)),
    }


async def _ours(turns: int, model: ModelServer) -> Grown:
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


async def _whole(turns: int) -> Grown:
    with TemporaryDirectory() as folder:
        async with AsyncSqliteSaver.from_conn_string(f"{folder}/threads.sqlite") as saver:
            graph = create_agent(ChatOpenAI(streaming=True), checkpointer=saver)

            async def say(text: str) -> None:
                asked = {"messages": [HumanMessage(text)]}
                await graph.ainvoke(asked, {"configurable": {"thread_id": "1"}})  # type: ignore[call-overload]

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
    print(json.dumps(asyncio.run(_whole(int(sys.argv[1]))).__dict__))
