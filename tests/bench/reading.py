"""One client reading runs of a server, in a process of its own. Prints one line of JSON.

python -m tests.bench.reading steady|sdk URL "stream 5000 tokens" RUNS [EVENTS_A_SECOND]
"""

import asyncio
import json
import sys
import time
from typing import Any

import psutil
from langgraph_sdk import get_client

from client import AgentClient, Token


async def read_steady(url: str, question: str, rate: float) -> str:
    pieces = []
    async with AgentClient(url) as agent, agent.stream(question) as run:
        async for event in run:
            if isinstance(event, Token):
                pieces.append(event.content)
                if rate:
                    await asyncio.sleep(1 / rate)  # the slow reader that is measured
    return "".join(pieces)


async def read_sdk(url: str, question: str, rate: float) -> str:
    pieces, client = [], get_client(url=url)
    asked: Any = {"messages": [{"role": "user", "content": question}]}
    thread = await client.threads.create()
    async for part in client.runs.stream(
        thread["thread_id"], "agent", input=asked, stream_mode="messages-tuple"
    ):
        if part.event == "messages" and part.data[0]["type"] == "AIMessageChunk":
            pieces.append(part.data[0]["content"])
    return "".join(pieces)


async def main(kind: str, url: str, question: str, runs: int, rate: float) -> dict[str, Any]:
    read = {"steady": read_steady, "sdk": read_sdk}[kind]
    await read(url, "stream 500 tokens", 0)
    memory, cpu, characters = psutil.Process().memory_info().rss, [], []
    for _ in range(runs):
        started = time.process_time()
        characters.append(len(await read(url, question, rate)))
        cpu.append(time.process_time() - started)
    grown = psutil.Process().memory_info().rss - memory
    return {"cpu_seconds": cpu, "characters": characters, "grown_bytes": grown}


if __name__ == "__main__":
    kind, url, question, runs = sys.argv[1:5]
    rate = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0
    print(json.dumps(asyncio.run(main(kind, url, question, int(runs), rate))))
