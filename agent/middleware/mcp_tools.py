"""The model is offered the tools of MCP servers that are there, and their calls are carried out."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from langgraph.types import Command

from agent.tools.mcp import McpTools, as_result

log = structlog.stdlib.get_logger(__name__)


class McpToolCalls(AgentMiddleware[AgentState[Any], Any]):
    """The innermost of those around tool calls: it finds the tool.

    Args:
        mcp: the servers' tools.
    """

    def __init__(self, mcp: McpTools) -> None:
        super().__init__()
        self._mcp = mcp

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        self._mcp.start()
        own = {tool.name for tool in request.tools if isinstance(tool, BaseTool)}
        if more := [tool for name, tool in self._mcp.tools.items() if name not in own]:
            request = request.override(tools=[*request.tools, *more])
        return await handler(request)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        name = request.tool_call["name"]
        if request.tool is not None or not self._mcp.has(name):
            return await handler(request)
        tool = await self._mcp.arrive(name)
        if tool is None:
            raise ToolException(f"The tool {name} is not there: its MCP server does not answer.")
        try:
            result = await handler(request.override(tool=tool))
        except (ToolException, TimeoutError):
            raise
        except Exception as error:  # its text may hold what is in the server's settings
            await log.awarning(f"The tool {name} of an MCP server failed: {type(error).__name__}.")
            raise ToolException(
                f"The tool {name} broke off: its MCP server does not answer. It may or may not "
                "have taken effect."
            ) from None
        return as_result(result) if isinstance(result, ToolMessage) else result
