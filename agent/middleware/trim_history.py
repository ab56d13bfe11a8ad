"""The model is sent a bounded part of a long thread: its latest turns."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.config import get_stream_writer

from agent.model.token_count import Count, count_message, estimate_tokens


class TrimHistory(AgentMiddleware[AgentState[Any], Any]):
    """Sends the model the conversation's latest turns, each whole, and tells what it leaves out.

    The oldest go in blocks of half of `tokens`, so that from turn to turn the model is sent the
    same beginning, which endpoints keep in their prompt caches. The present turn is always sent.
    A `progress` event tells each time that more is left out than when the model was last called.

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
        messages = request.messages
        sizes = [count_message(message, self._count) for message in messages]
        dropped = _first_sent(messages, sizes, self._tokens)
        if dropped and dropped != self._dropped_at_last_call(messages, sizes):
            sent = len(messages) - dropped
            told = {"type": "history", "dropped_messages": dropped, "sent_messages": sent}
            get_stream_writer()(told)
        return await handler(request.override(messages=messages[dropped:]))

    def _dropped_at_last_call(self, messages: Sequence[AnyMessage], sizes: Sequence[int]) -> int:
        """How many were left out when the thread's last answer was asked for.

        An answer without metadata came with the input: nobody was told anything then.
        """
        for at in reversed(range(len(messages))):
            message = messages[at]
            if isinstance(message, AIMessage) and message.response_metadata:
                return _first_sent(messages, sizes[:at], self._tokens)
        return 0


def latest_turns(
    messages: Sequence[AnyMessage], tokens: int, count: Count = estimate_tokens
) -> list[AnyMessage]:
    """The messages from the first turn that is sent; a turn begins with a person's message."""
    sizes = [count_message(message, count) for message in messages]
    return list(messages[_first_sent(messages, sizes, tokens) :])


def _first_sent(messages: Sequence[AnyMessage], sizes: Sequence[int], tokens: int) -> int:
    """Where the first turn that is sent begins, of as many messages as there are sizes."""
    total, block = sum(sizes), max(tokens // 2, 1)
    if total <= tokens:
        return 0
    room = total - math.ceil((total - tokens) / block) * block
    first, size = None, 0
    for at in reversed(range(len(sizes))):  # what is left out is the longer part
        size += sizes[at]
        if size > room and first is not None:
            break
        if isinstance(messages[at], HumanMessage):
            first = at
    return first or 0
