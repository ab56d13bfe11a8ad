"""The model is sent a bounded part of a long thread: its latest turns."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import AnyMessage, HumanMessage

from agent.model.token_count import Count, count_message, estimate_tokens


class TrimHistory(AgentMiddleware[AgentState[Any], Any]):
    """Sends the model the conversation's latest turns, each whole.

    The oldest go in blocks of half of `tokens`, so that from turn to turn the model is sent the
    same beginning, which endpoints keep in their prompt caches. The present turn is always sent.

    Args:
        tokens: about how many tokens are sent, at most.
        count: says how many tokens a text has. Default: an estimate by its script.
    """

    def __init__(self, tokens: int, count: Count = estimate_tokens) -> None:
        super().__init__()
        self._tokens = tokens
        self._count = count

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        messages = latest_turns(request.messages, self._tokens, self._count)
        return await handler(request.override(messages=messages))


def latest_turns(
    messages: Sequence[AnyMessage], tokens: int, count: Count = estimate_tokens
) -> list[AnyMessage]:
    """The messages from the first turn that is sent; a turn begins with a person's message."""
    sizes = [count_message(message, count) for message in messages]
    total, block = sum(sizes), max(tokens // 2, 1)
    turns = [at for at, message in enumerate(messages) if isinstance(message, HumanMessage)]
    if total <= tokens or not turns:
        return list(messages)
    room = total - math.ceil((total - tokens) / block) * block
    first, size = len(messages), 0
    for begin in reversed(turns):  # what is left out is the longer part
        size += sum(sizes[begin:first])
        if size > room and first < len(messages):
            break
        first = begin
    return list(messages[first:])
