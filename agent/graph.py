"""The graphs the server runs: `graph`, the agent with tools, and `chat`, the model alone."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
    ToolErrorMiddleware,
)
from langchain.agents.middleware.types import AgentState
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import SystemMessage
from langchain_core.tools import ToolException
from pydantic import BaseModel, ConfigDict, Field

from agent.approval import Approval
from agent.model import chat_model
from agent.settings import settings
from agent.stopping import KeepWhatWasSaid
from agent.tools import NEEDS_APPROVAL, TOOLS

SYSTEM_PROMPT = (
    "You are a helpful assistant. Answer directly and briefly. Use a tool when it knows better "
    "than you do, and state its result exactly. Say so when you do not know."
)


class Context(BaseModel):
    """What one run may choose; what is left out comes from the server's settings."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        default=None, description="Model name at the configured endpoint, such as gpt-5-mini."
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sampling temperature, 0 (steady) to 2 (wild)."
    )
    system_prompt: str | None = Field(
        default=None,
        max_length=20_000,
        description="Instructions that replace the agent's own.",
    )


class PerRun(AgentMiddleware[AgentState[Any], Context]):
    """Applies the run's context to each model call."""

    async def awrap_model_call(
        self,
        request: ModelRequest[Context],
        handler: Callable[[ModelRequest[Context]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        return await handler(_with_context(request))


def _context(request: ModelRequest[Context]) -> Context:
    return request.runtime.context or Context()


def _with_context(request: ModelRequest[Context]) -> ModelRequest[Context]:
    context = _context(request)
    chosen = context.model_dump(include={"model", "temperature"}, exclude_none=True)
    if chosen:
        request = request.override(model_settings={**request.model_settings, **chosen})
    if context.system_prompt is not None:
        request = request.override(system_message=SystemMessage(context.system_prompt))
    return request


def _tool_failed(error: Exception, request: ToolCallRequest) -> str:
    """What the model is told; only a ToolException's words are meant for it."""
    name = request.tool_call["name"]
    return str(error) if isinstance(error, ToolException) else f"The tool {name} failed."


_keeper = KeepWhatWasSaid()
_agent = create_agent(
    chat_model(),
    TOOLS,
    system_prompt=SYSTEM_PROMPT,
    middleware=[PerRun(), Approval(NEEDS_APPROVAL), _keeper, ToolErrorMiddleware(_tool_failed)],
    context_schema=Context,
    name="agent",
)
_keeper.graph = _agent
graph = _agent.with_config(recursion_limit=settings().steady_max_steps)

chat = create_agent(
    chat_model(),
    system_prompt=SYSTEM_PROMPT,
    middleware=[PerRun()],
    context_schema=Context,
    name="chat",
)
