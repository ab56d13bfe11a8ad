"""A model call that breaks off is retried, then sent to another model; a `retry` event is sent.

The OpenAI SDK tries again what fails before an answer begins: no connection, 429 (it minds
`Retry-After`), 5xx. What it cannot retry is an answer that breaks off, goes idle or cannot be
read: that is done here. Before each new try a `retry` event goes out, in the stream's custom data;
it names the message whose partial text is to be discarded.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import structlog
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState
from langgraph.config import get_stream_writer

from agent.model.errors import ModelError
from agent.model.partial import PartialAnswer, partial_answer
from agent.telemetry import metrics

log = structlog.stdlib.get_logger(__name__)

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 8.0


class RetryModelCall(AgentMiddleware[AgentState[Any], Any]):
    """Retries a model call that breaks off, then asks another model once.

    Args:
        retries: the greatest number of new tries.
        fallback: the other model's name. None, the default: there is none.
    """

    def __init__(self, retries: int, fallback: str | None = None) -> None:
        super().__init__()
        self._retries = retries
        self._fallback = fallback

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        with partial_answer() as calls:
            for attempt, (delay_seconds, attempt_request) in enumerate(self._tries(request), 2):
                begun = len(calls)
                try:
                    return await self._call(attempt_request, handler, calls)
                except ModelError as error:
                    if not (error.is_broken_off or (error.is_transient and self._fallback)):
                        raise
                    await self._drop(calls[begun:], attempt, error)
                    if not error.is_broken_off:
                        break  # the SDK has retried this model as often as it may
                    await asyncio.sleep(delay_seconds)
            return await self._call(self._last(request), handler, calls)

    async def _call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
        calls: list[PartialAnswer],
    ) -> ModelResponse[Any]:
        """One try. A model whose way of answering was learned by it is asked once more."""
        begun = len(calls)
        try:
            return await handler(request)
        except ModelError as error:
            if not error.is_hint:
                raise
            await self._drop(calls[begun:], 2, error)
            return await handler(request)

    def _tries(self, request: ModelRequest[Any]) -> Iterator[tuple[float, ModelRequest[Any]]]:
        """All attempts but the last: the delay after each in seconds, and the request."""
        delay = FIRST_DELAY_SECONDS
        for _ in range(self._retries):
            yield delay * random.uniform(0.5, 1.0), request  # noqa: S311 - spreads load, no secret
            delay = min(2 * delay, LONGEST_DELAY_SECONDS)
        if self._fallback:
            yield 0.0, request

    def _last(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        if not self._fallback:
            return request
        settings = {**request.model_settings, "model": self._fallback}
        return request.override(model_settings=settings)

    async def _drop(self, answers: list[PartialAnswer], attempt: int, error: ModelError) -> None:
        """Announces that another try takes the place of these, of which the last was shown."""
        message_id = None
        for answer in answers:
            answer.is_dropped, message_id = True, answer.partial.id
        metrics.model_retries.add(1)
        await log.awarning(f"The model is tried again ({attempt}).", reason=str(error))
        event = {"type": "retry", "attempt": attempt, "message_id": message_id}
        get_stream_writer()({**event, "reason": str(error)})
