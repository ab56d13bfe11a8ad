"""Whether a graph has ended when a run of it is stopped, in the environment of `make scale`.

    python -m tests.scale.stopped_run

The run is stopped while one of its events waits to be written. Prints a line for each of Aegra's
ways to stream.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agent.scale import server  # noqa: F401 - it puts Aegra's parts together
from agent.scale.stopping import run_executor


class State(TypedDict):
    """One step's."""

    number: int


class Graph(CompiledStateGraph[Any, Any, Any, Any]):
    """Once it has begun, its run's events have to wait; it takes a moment to end."""

    turn: asyncio.Lock
    has_ended = False

    async def astream(self, *arguments: Any, **options: Any) -> AsyncGenerator[Any]:
        await self.turn.acquire()
        try:
            async for part in super().astream(*arguments, **options):
                yield part
        finally:
            await asyncio.sleep(0.1)
            self.has_ended = True


async def main() -> None:
    await run_executor.redis_manager.initialize()
    built = StateGraph(State).add_node("step", lambda state: state)
    built.add_edge(START, "step").add_edge("step", END)
    for stream, modes in (("_stream_legacy", [["values"]]), ("_stream_native_v2", [])):
        graph, run_id = Graph(**vars(built.compile())), str(uuid.uuid4())
        graph.turn = run_executor.broker_manager.get_or_create_broker(run_id)._turn
        job = SimpleNamespace(
            identity=SimpleNamespace(run_id=run_id),
            execution=SimpleNamespace(context=None, durability=None),
            behavior=SimpleNamespace(subgraphs=False),
        )
        config, result = {"configurable": {"run_id": run_id}}, run_executor._GraphResult()
        run = getattr(run_executor, stream)(job, graph, {"number": 1}, config, *modes, result)
        task = asyncio.create_task(run)
        await until_one_waits(graph.turn)
        task.cancel()
        await asyncio.wait([task])
        print(stream, "has ended" if graph.has_ended else "goes on")
    await run_executor.redis_manager.close()


async def until_one_waits(turn: asyncio.Lock) -> None:
    async with asyncio.timeout(20):
        while True:
            if turn._waiters:
                return
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main())
