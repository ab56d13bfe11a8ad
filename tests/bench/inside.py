"""LangGraph in this process: `graph.astream`, and what it costs. Prints one line of JSON.

python -m tests.bench.inside agent.graph:graph "stream 5000 tokens" 3
"""

import asyncio
import json
import sys
import time
from importlib import import_module
from typing import Any


async def main(graph: Any, question: str, runs: int) -> dict[str, list[float]]:
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
    print(json.dumps(asyncio.run(main(made, sys.argv[2], int(sys.argv[3])))))
