"""Tools with side effects wait for approval: LangChain's human-in-the-loop, with schemas."""

import inspect
from collections.abc import Iterable
from typing import Any, cast

import structlog
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.middleware.human_in_the_loop import (
    ActionRequest,
    DecisionType,
    InterruptOnConfig,
    ReviewConfig,
)
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph._internal._runnable import RunnableCallable
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime

from agent.middleware.call_records import CallRecord
from agent.tools.mcp import McpTools

log = structlog.stdlib.get_logger(__name__)

_CREATE = "self tool_call config state runtime"  # parameters of the private method below
_DECISIONS: tuple[DecisionType, ...] = ("approve", "edit", "reject", "respond")
_EDITS = "hitl_edited_tool_calls"  # where LangChain writes a person's edits, by call id


class Approval(HumanInTheLoopMiddleware[AgentState[Any], Any, Any]):
    """Each call of these tools waits for a decision: approve, edit, reject or respond.

    The request also holds the tool's argument schema, so that an edit that does not fit can be
    refused where its run is made (`agent.access.decisions`).

    Args:
        tools: those with side effects.
        mcp: the tools of MCP servers, which say themselves whether they wait.
    """

    def __init__(self, tools: Iterable[BaseTool], mcp: McpTools) -> None:
        self._mcp = mcp
        self._schemas = {tool.name: _schema(tool) for tool in tools}
        create = getattr(HumanInTheLoopMiddleware, "_create_action_and_config", None)
        if create is None or " ".join(inspect.signature(create).parameters) != _CREATE:
            log.warning("LangChain asks for approval in another way: edits are not checked before.")
        super().__init__(
            dict.fromkeys(self._schemas, True), description_prefix="May the agent do this?"
        )

    def _create_action_and_config(
        self,
        tool_call: ToolCall,
        config: InterruptOnConfig,
        state: AgentState[Any],
        runtime: Runtime[Any],
    ) -> tuple[ActionRequest, ReviewConfig]:
        action, review = super()._create_action_and_config(tool_call, config, state, runtime)
        review["args_schema"] = self._schemas[tool_call["name"]]
        return action, review

    async def aafter_model(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        """Also records the approved calls, as edited; tools run from that record alone."""
        await self._add_mcp_tools(state)
        update = await super().aafter_model(state, runtime)
        message, *answers = (update or {}).get("messages") or [None]
        if isinstance(message, AIMessage):
            answered = {answer.tool_call_id for answer in answers}
            edits = (update or {}).get(_EDITS) or {}
            for call in message.tool_calls:
                if call["name"] in self._schemas and call["id"] not in answered:
                    edited = {**call, **edits.get(call["id"], {})}
                    await CallRecord.of(cast(ToolCall, edited), state["messages"]).approve()
        return update

    async def _add_mcp_tools(self, state: AgentState[Any]) -> None:
        """Takes in the servers' tools that the last message calls and that wait for a person."""
        last = state["messages"][-1] if state["messages"] else None
        for call in last.tool_calls if isinstance(last, AIMessage) else ():
            name = call["name"]
            if name in self._schemas or not self._mcp.has(name):
                continue
            tool = await self._mcp.arrive(name)
            if tool is not None and self._mcp.needs_approval(name):
                self._schemas[name] = _schema(tool)
                self.interrupt_on[name] = InterruptOnConfig(allowed_decisions=[*_DECISIONS])


def only_after_calls(graph: CompiledStateGraph[Any, Any, Any, Any]) -> None:
    """Has an answer without tool calls go where `Approval` would send it, without that step.

    A step costs a task, its events and a checkpoint, and this one would change nothing. Where
    LangChain has connected the nodes in another way, all stays as it is.

    Args:
        graph: as `create_agent` has made it; changed in place.
    """
    model, approval, builder = "model", f"{Approval.__name__}.after_model", graph.builder
    branches = builder.branches.get(approval, {})
    if (model, approval) not in builder.edges or len(branches) != 1:
        return
    ((name, branch),) = branches.items()
    end = cast(str, branch.path.invoke({"messages": [AIMessage("")]}))

    def route(state: Any) -> Any:
        answer = next((m for m in reversed(state["messages"]) if isinstance(m, AIMessage)), None)
        return approval if answer is not None and answer.tool_calls else end

    builder.edges.remove((model, approval))
    builder.branches[model][name] = branch._replace(
        path=RunnableCallable(route, trace=False), ends={approval: approval, end: end}
    )
    graph.nodes = builder.compile().nodes


def _schema(tool: BaseTool) -> dict[str, Any]:
    """The JSON schema of a tool's arguments, which takes no others."""
    parameters = convert_to_openai_tool(tool)["function"]["parameters"]
    return {"additionalProperties": False, **parameters}
