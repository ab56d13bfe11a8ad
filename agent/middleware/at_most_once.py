"""A tool call with side effects is carried out once it is approved, and at most once.

A worker that dies during a tool leaves a step that has not ended, and the next worker runs it
again. So each such call is claimed in the thread's storage before it is carried out, and its result
is stored there. Another worker finds the result; or it finds a claim without one, and then says
that the outcome is unknown, rather than carry out the call twice.

A call reaches the tools in other ways, too: by a command that goes to them, or by a forged update
of the state. Without a person's approval on record it is not carried out.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import AgentState
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.tools import BaseTool, ToolException
from langgraph.types import Command

from agent.middleware.call_records import CallRecord
from agent.tools.mcp import McpTools

UNKNOWN = (
    "The server stopped while this was carried out, so it may or may not have taken effect. "
    "It was not done again: look before you ask for it once more."
)


class AtMostOnceTools(AgentMiddleware[AgentState[Any], Any]):
    """Carries out each call of these tools at most once, and only if it is approved.

    Args:
        tools: those with side effects, as `Approval` has them.
        mcp: the tools of MCP servers: those that act, and of them those that wait for a person.
    """

    def __init__(self, tools: Iterable[BaseTool], mcp: McpTools) -> None:
        super().__init__()
        self._names = {tool.name for tool in tools}
        self._mcp = mcp

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        call = request.tool_call
        name = call["name"]
        needs_approval = name in self._names
        if not needs_approval:
            if not self._mcp.has(name) or request.tool is not None:
                return await handler(request)
            await self._mcp.arrive(name)
            needs_approval = self._mcp.needs_approval(name)
            if not needs_approval and not self._mcp.acts(name):
                return await handler(request)
        record = CallRecord.of(call, request.state.get("messages", ()))
        if needs_approval and not await record.is_approved():
            raise ToolException(
                f"The tool {name} was not carried out: nobody has approved this call with "
                "these arguments."
            )
        if not await record.claim():
            return await record.result() or _unknown(call)
        result = await handler(request)
        if isinstance(result, ToolMessage):
            await record.store(result)
        return result


def _unknown(call: ToolCall) -> ToolMessage:
    return ToolMessage(UNKNOWN, name=call["name"], tool_call_id=call["id"], status="error")
