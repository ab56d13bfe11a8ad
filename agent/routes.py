"""What the server adds around the graphs; today, that the embedded model is warm from the start."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog
from langchain_core.utils.function_calling import convert_to_openai_tool
from starlette.applications import Starlette

from agent import embedded
from agent.graph import SYSTEM_PROMPT
from agent.settings import settings
from agent.tools import TOOLS

log = structlog.stdlib.get_logger(__name__)


async def _warm_embedded() -> None:
    """Has the embedded model read the agent's prompt and tools before the first question does."""
    system = {"role": "system", "content": SYSTEM_PROMPT}
    tools = [convert_to_openai_tool(tool) for tool in TOOLS]
    try:
        await embedded.warm([system], tools, settings().steady_gguf)
    except embedded.EmbeddedError as error:
        await log.awarning(f"The embedded model is not ready: {error}")


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    warming = asyncio.create_task(_warm_embedded()) if settings().embedded else None
    try:
        yield
    finally:
        if warming is not None:
            warming.cancel()


app = Starlette(lifespan=_lifespan)
