"""The runs of a thread, as tests wait for them."""

import asyncio

from client import AgentClient


async def ended(agent: AgentClient, thread_id: str) -> list[str]:
    """The statuses of the thread's runs, once all have ended."""
    async with asyncio.timeout(10):
        while True:
            statuses = [run["status"] for run in await agent.runs.list(thread_id)]
            if not {"pending", "running"} & set(statuses):
                return statuses
            await asyncio.sleep(0.05)
