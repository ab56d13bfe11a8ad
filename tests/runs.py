"""The runs of a thread, as tests wait for them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from client import AgentClient
from tests.model_server import ModelServer


async def while_one_goes_on(model: ModelServer, asked: list[Coroutine[Any, Any, str]]) -> list[Any]:
    """The outcomes of what is asked at once, where a slow answer goes on until the others have
    been refused."""
    tasks = [asyncio.create_task(each) for each in asked]
    left = {*tasks}
    while len(left) > 1:
        _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    model.hurry()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def ended(agent: AgentClient, thread_id: str) -> list[str]:
    """The statuses of the thread's runs, once all have ended."""
    async with asyncio.timeout(60):
        while True:
            statuses = [run["status"] for run in await agent.runs.list(thread_id)]
            if not {"pending", "running"} & set(statuses):
                return statuses
            await asyncio.sleep(0.05)
