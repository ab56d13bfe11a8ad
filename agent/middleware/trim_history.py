"""The model is sent a bounded part of a long thread: its latest turns."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately

_ROLES = {"human": len("user"), "ai": len("assistant")}


class TrimHistory(AgentMiddleware[AgentState[Any], Any]):
    """Sends the model at most about `tokens` of the conversation: its latest turns, each whole.

    The oldest go in blocks of half of `tokens`, so that from turn to turn the model is sent the
    same beginning, which endpoints keep in their prompt caches. The present turn is always sent.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self._tokens = tokens

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        return await handler(
            request.override(messages=latest_turns(request.messages, self._tokens))
        )


def latest_turns(messages: Sequence[AnyMessage], tokens: int) -> list[AnyMessage]:
    """The messages from the first turn that is sent; a turn begins with a person's message."""
    sizes = [_tokens(message) for message in messages]
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


def _tokens(message: AnyMessage) -> int:
    """As LangChain counts them, which takes ten times as long for a message of plain text."""
    if not _is_plain_text(message):
        return count_tokens_approximately([message])
    characters = len(message.content) + len(message.name or "") + _ROLES[message.type]
    return math.ceil(characters / 4) + 3


def _is_plain_text(message: AnyMessage) -> bool:
    return (
        message.type in _ROLES
        and isinstance(message.content, str)
        and not (isinstance(message, AIMessage) and message.tool_calls)
    )
