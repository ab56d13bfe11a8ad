"""What a thread keeps, and how much of it the model is sent: long threads stay cheap.

A thread keeps every message, but each checkpoint only what is new since the one before: LangGraph's
`DeltaChannel`. The model is sent the latest turns that fit into a number of tokens.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Required

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langchain_core.messages.utils import count_tokens_approximately
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import PendingWrite
from langgraph.graph.message import REMOVE_ALL_MESSAGES, _messages_delta_reducer

_ROLES = {"human": len("user"), "ai": len("assistant")}


class MessagesChannel(DeltaChannel[list[AnyMessage]]):
    """A delta channel of messages that knows `RemoveMessage(REMOVE_ALL_MESSAGES)`.

    LangGraph's reducer does not, and LangChain's middleware (its summaries, its repairs) writes it.
    """

    def update(self, values: Sequence[Any]) -> bool:
        return super().update(self._kept(values))

    def replay_writes(self, writes: Sequence[PendingWrite]) -> None:
        kept = self._kept([value for _, _, value in writes])
        super().replay_writes([("", "", value) for value in kept])

    def _kept(self, values: Sequence[Any]) -> list[Any]:
        """What comes after the last removal of all messages, which empties the channel."""
        for at in reversed(range(len(values))):
            items = values[at] if isinstance(values[at], list) else [values[at]]
            removals = [n for n, item in enumerate(items) if _removes_all(item)]
            if removals:
                self.value = []
                return [items[removals[-1] + 1 :], *values[at + 1 :]]
        return list(values)


def _removes_all(item: Any) -> bool:
    return isinstance(item, RemoveMessage) and item.id == REMOVE_ALL_MESSAGES


class ThreadState(AgentState[Any]):
    """LangChain's agent state, its messages stored as what each step added."""

    messages: Required[Annotated[list[AnyMessage], MessagesChannel(_messages_delta_reducer)]]


class LatestTurns(AgentMiddleware[AgentState[Any], Any]):
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
    """The messages from the first turn on that is sent; a turn begins with a person's message."""
    sizes = [_tokens(message) for message in messages]
    total, block = sum(sizes), max(tokens // 2, 1)
    turns = [at for at, message in enumerate(messages) if isinstance(message, HumanMessage)]
    if total <= tokens or not turns:
        return list(messages)
    room = total - math.ceil((total - tokens) / block) * block
    first, kept = len(messages), 0
    for begin in reversed(turns):  # what is left out is the longer part
        kept += sum(sizes[begin:first])
        if kept > room and first < len(messages):
            break
        first = begin
    return list(messages[first:])


def _tokens(message: AnyMessage) -> int:
    """As LangChain counts, who takes ten times as long for a message of mere text."""
    if not _is_mere_text(message):
        return count_tokens_approximately([message])
    characters = len(message.content) + len(message.name or "") + _ROLES[message.type]
    return math.ceil(characters / 4) + 3


def _is_mere_text(message: AnyMessage) -> bool:
    return (
        message.type in _ROLES
        and isinstance(message.content, str)
        and not (isinstance(message, AIMessage) and message.tool_calls)
    )
