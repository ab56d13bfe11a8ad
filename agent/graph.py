"""The graphs that the server runs: `graph`, the agent with tools, and `chat`, the model alone."""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import BaseTool

from agent.middleware.approval import Approval, only_after_calls
from agent.middleware.at_most_once import AtMostOnceTools
from agent.middleware.keep_partial_answer import KeepPartialAnswer
from agent.middleware.mcp_tools import McpToolCalls
from agent.middleware.retry_model_call import RetryModelCall
from agent.middleware.run_context import Context, RunContext
from agent.middleware.stoppable_graph import StoppableGraph
from agent.middleware.summarize_history import SummarizeHistory
from agent.middleware.thread_state import ThreadState
from agent.middleware.tool_errors import tool_errors
from agent.middleware.tool_time_limit import ToolTimeLimit
from agent.middleware.trim_history import TrimHistory
from agent.middleware.untraced_calls import call_in_place
from agent.model.chat_model import chat_model
from agent.model.token_count import counter_for
from agent.prompt import SYSTEM_PROMPT
from agent.settings import settings
from agent.tools import MEMORY_TOOLS, NEEDS_APPROVAL, TOOLS
from agent.tools.mcp import MCP

call_in_place()


def _history() -> AgentMiddleware[Any, Any]:
    tokens, count = settings().steady_context_tokens, counter_for(chat_model().model_name)
    if settings().steady_history == "summarize":
        return SummarizeHistory(chat_model(), tokens, count)
    return TrimHistory(tokens, count)


# The first is the outermost.
MODEL_MIDDLEWARE: list[AgentMiddleware[Any, Any]] = [
    KeepPartialAnswer(),
    _history(),
    RunContext(),
    RetryModelCall(settings().steady_model_retries, settings().steady_fallback_model),
]
TOOL_MIDDLEWARE: list[AgentMiddleware[Any, Any]] = [
    Approval(NEEDS_APPROVAL, MCP),
    tool_errors(),
    AtMostOnceTools(NEEDS_APPROVAL, MCP),
    ToolTimeLimit(settings().steady_tool_seconds),
    McpToolCalls(MCP),
]


def _graph(
    name: str,
    tools: Sequence[BaseTool],
    middleware: Sequence[AgentMiddleware[Any, Any]],
    prompt: str = SYSTEM_PROMPT,
) -> StoppableGraph:
    compiled = create_agent(
        chat_model(),
        tools,
        system_prompt=prompt,
        middleware=middleware,
        state_schema=ThreadState,
        context_schema=Context,
        name=name,
    )
    only_after_calls(compiled)
    return StoppableGraph.of(compiled)


graph = _graph(
    "agent",
    [*TOOLS, *(MEMORY_TOOLS if settings().remembers else ())],
    [*MODEL_MIDDLEWARE, *TOOL_MIDDLEWARE],
).with_config(recursion_limit=settings().steady_max_steps)

chat = _graph("chat", [], MODEL_MIDDLEWARE)
