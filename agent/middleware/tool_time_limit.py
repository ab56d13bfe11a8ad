"""A tool that runs for too long fails, so that the run goes on without it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import AgentState
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.tools import ToolException
from langgraph.types import Command


class ToolTimeLimit(AgentMiddleware[AgentState[Any], Any]):
    """Fails a tool call that takes too long.

    An asynchronous tool is cancelled. A synchronous one cannot be: it goes on in its thread, and
    its result is dropped.

    Args:
        limit_seconds: how long a call may take.
    """

    def __init__(self, limit_seconds: float) -> None:
        super().__init__()
        self._limit_seconds = limit_seconds

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        try:
            async with asyncio.timeout(self._limit_seconds):
                return await handler(request)
        except TimeoutError as error:
            name = request.tool_call["name"]
            raise ToolException(
                f"The tool {name} took longer than {self._limit_seconds:g} s and was given up."
            ) from error
