"""What long threads cost, and how soon a stopped run lets go of its model.

python -m tests.bench.threads stock 400     prints, as JSON, what a thread costs in process
"""

import asyncio
import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
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
from client.cli.local_server import LocalServer, find_config
from tests.bench.contestants import OURS, ROOT, ask_worker, environment
from tests.model_server import ModelServer

SIDE = "x" * 480  # a question; the answer repeats it, so that a turn has about 1 kB
BEFORE_EARLY, TURNS_AT_A_TIME = 8, 3  # several: a process's CPU time is told in hundredths


@dataclass(frozen=True)
class Grown:
    """A thread in SQLite after its turns, and what further turns of it cost.

    Turns of the long thread and those about the tenth of a new one are measured in pairs, one after
    the other: medians of both, and of their ratios.
    """

    megabytes: float
    early_ms: float
    late_ms: float
    ratio: float


def growth(turns: int, model: ModelServer) -> dict[str, Grown]:
    """The graphs in process, with SQLite; and our server, with all that it keeps on disk.

    Two at once: CPU time is that of each one's own processes.
    """
    env = environment(model.url)

    def inside(kind: str) -> Grown:
        return Grown(**ask_worker("tests.bench.threads", kind, str(turns), env=env))

    with ThreadPoolExecutor() as pool:
        stock = pool.submit(inside, "stock")
        ours = {"ours in process": inside("ours"), OURS: asyncio.run(_server(turns, model))}
        return {"LangGraph in process": stock.result(), **ours}


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

                async def say(thread_id: str) -> None:
                    await agent.stream(SIDE, thread_id=thread_id).text()

                return await _grown(turns, agent.threads.create, say, cpu, Path(folder))


@asynccontextmanager
async def _stock_graph(file: Path) -> AsyncIterator[Any]:
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        yield create_agent(ChatOpenAI(streaming=True), checkpointer=saver)


@asynccontextmanager
async def _our_graph(file: Path) -> AsyncIterator[Any]:
    os.environ["STEADY_THREADS_FILE"] = str(file)
    graph, checkpoints = import_module("agent.graph"), import_module("agent.storage.checkpointer")
    async with checkpoints.checkpointer() as saver:
        yield graph.graph.copy({"checkpointer": saver})


async def _inside(kind: str, turns: int) -> Grown:
    with TemporaryDirectory() as folder:
        made = {"stock": _stock_graph, "ours": _our_graph}[kind]
        async with made(Path(folder) / "threads.sqlite") as graph:

            async def begin() -> str:
                return str(uuid.uuid4())

            async def say(thread_id: str) -> None:
                asked = {"messages": [HumanMessage(SIDE)]}
                await graph.ainvoke(asked, {"configurable": {"thread_id": thread_id}})

            return await _grown(turns, begin, say, time.process_time, Path(folder))


async def _grown(
    turns: int,
    begin: Callable[[], Awaitable[str]],
    say: Callable[[str], Awaitable[None]],
    cpu: Callable[[], float],
    folder: Path,
) -> Grown:
    async def cost_ms(thread_id: str) -> float:
        before = cpu()
        for _ in range(TURNS_AT_A_TIME):
            await say(thread_id)
        return 1000 * (cpu() - before) / TURNS_AT_A_TIME

    long = await begin()
    for _ in range(turns):
        await say(long)
    megabytes = _megabytes(folder)
    pairs = []
    for _ in range(max(turns // 50, 1)):
        new = await begin()
        for _ in range(BEFORE_EARLY):
            await say(new)
        pairs.append((await cost_ms(new), await cost_ms(long)))
    early, late = zip(*pairs, strict=True)
    ratio = statistics.median(after / before for before, after in pairs)
    return Grown(megabytes, statistics.median(early), statistics.median(late), ratio)


def _megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


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
