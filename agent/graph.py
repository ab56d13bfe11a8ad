"""The graphs the server runs: `graph`, the agent with tools, and `chat`, the model alone."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
    ToolErrorMiddleware,
)
from langchain.agents.middleware.types import AgentState
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import SystemMessage, ToolMessage
from langchain_core.tools import ToolException
from langgraph.types import Command
from pydantic import BaseModel, ConfigDict, Field

from agent.middleware.approval import Approval
from agent.middleware.history import LatestTurns, ThreadState
from agent.middleware.once import OnceOnly
from agent.middleware.retry import TryAgain
from agent.middleware.stopping import KeepWhatWasSaid, StoppableGraph
from agent.model.chat_model import chat_model
from agent.settings import settings
from agent.tools import NEEDS_APPROVAL, TOOLS
from agent.tools.memory import MEMORY_TOOLS

log = structlog.stdlib.get_logger(__name__)

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


class ToolTimeLimit(AgentMiddleware[AgentState[Any], Context]):
    """A tool that takes longer has failed; a synchronous one goes on in its thread, unheard."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        try:
            async with asyncio.timeout(self._seconds):
                return await handler(request)
        except TimeoutError as error:
            name = request.tool_call["name"]
            told = f"The tool {name} took longer than {self._seconds:g} s and was given up."
            raise ToolException(told) from error


def _tool_failed(error: Exception, request: ToolCallRequest) -> str:
    """What the model is told; only a ToolException's words are meant for it."""
    name = request.tool_call["name"]
    if isinstance(error, ToolException):
        return str(error)
    log.error(f"The tool {name} failed.", exc_info=error)
    return f"The tool {name} failed."


def _try_again() -> TryAgain:
    return TryAgain(settings().steady_model_retries, settings().steady_fallback_model)


_agent = StoppableGraph.of(
    create_agent(
        chat_model(),
        [*TOOLS, *(MEMORY_TOOLS if settings().remembers else ())],
        system_prompt=SYSTEM_PROMPT,
        middleware=[
            KeepWhatWasSaid(),
            LatestTurns(settings().steady_context_tokens),
            PerRun(),
            Approval(NEEDS_APPROVAL),
            _try_again(),
            ToolErrorMiddleware(_tool_failed),
            OnceOnly(NEEDS_APPROVAL),
            ToolTimeLimit(settings().steady_tool_seconds),
        ],
        state_schema=ThreadState,
        context_schema=Context,
        name="agent",
    )
)
graph = _agent.with_config(recursion_limit=settings().steady_max_steps)

chat = StoppableGraph.of(
    create_agent(
        chat_model(),
        system_prompt=SYSTEM_PROMPT,
        middleware=[
            KeepWhatWasSaid(),
            LatestTurns(settings().steady_context_tokens),
            PerRun(),
            _try_again(),
        ],
        state_schema=ThreadState,
        context_schema=Context,
        name="chat",
    )
)
