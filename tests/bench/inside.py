"""LangGraph in this process: `graph.astream`, and what it costs. Prints one line of JSON.

python -m tests.bench.inside agent.graph:graph 3 "stream 5000 tokens" "stream 10 tokens"
"""

import asyncio
import json
import sys
import time
from importlib import import_module
from typing import Any


async def main(graph: Any, runs: int, questions: list[str]) -> list[dict[str, list[float]]]:
    return [await costs(graph, runs, question) for question in questions]


async def costs(graph: Any, runs: int, question: str) -> dict[str, list[float]]:
    asked = {"messages": [{"role": "user", "content": question}]}
    found: dict[str, list[float]] = {"first_text_seconds": [], "cpu_seconds": [], "seconds": []}
    for number in range(runs + 1):  # the first warms up
        started, cpu, first = time.perf_counter(), time.process_time(), None
        async for piece, _metadata in graph.astream(asked, stream_mode="messages"):
            if first is None and piece.content:
                first = time.perf_counter() - started
        if number:
            found["first_text_seconds"].append(first or 0.0)
            found["cpu_seconds"].append(time.process_time() - cpu)
            found["seconds"].append(time.perf_counter() - started)
    return found


if __name__ == "__main__":
    module, _, name = sys.argv[1].partition(":")
    made = getattr(import_module(module), name)
    print(json.dumps(asyncio.run(main(made, int(sys.argv[2]), sys.argv[3:]))))
