"""What one run may choose for itself: model, temperature, system prompt."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import SystemMessage
from pydantic import BaseModel, ConfigDict, Field


class Context(BaseModel):
    """A run's choices; what is left out comes from the server's settings."""

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


class RunContext(AgentMiddleware[AgentState[Any], Context]):
    """Applies the run's context to each model call."""

    async def awrap_model_call(
        self,
        request: ModelRequest[Context],
        handler: Callable[[ModelRequest[Context]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        return await handler(_with_context(request))


def _with_context(request: ModelRequest[Context]) -> ModelRequest[Context]:
    context = request.runtime.context or Context()
    overrides = context.model_dump(include={"model", "temperature"}, exclude_none=True)
    if overrides:
        request = request.override(model_settings={**request.model_settings, **overrides})
    if context.system_prompt is not None:
        request = request.override(system_message=SystemMessage(context.system_prompt))
    return request
