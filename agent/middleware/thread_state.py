"""A thread's messages, of which each checkpoint stores only those that are new since the last.

That is LangGraph's `DeltaChannel`; without it each checkpoint of a long thread would hold them all.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Required

from langchain.agents.middleware.types import AgentState
from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import PendingWrite
from langgraph.graph.message import REMOVE_ALL_MESSAGES

try:
    from langgraph.graph.message import _messages_delta_reducer
except ImportError as error:  # threads could not be read: better not to start
    raise ImportError(
        "This LangGraph has no reducer for messages that are stored as deltas: install the "
        "langgraph that requirements.lock names."
    ) from error


class MessagesChannel(DeltaChannel[list[AnyMessage]]):
    """A delta channel of messages that knows `RemoveMessage(REMOVE_ALL_MESSAGES)`.

    LangGraph's reducer does not, and LangChain's middleware (its summaries, its repairs) writes it.
    """

    def update(self, values: Sequence[Any]) -> bool:
        return super().update(self._after_last_removal(values))

    def replay_writes(self, writes: Sequence[PendingWrite]) -> None:
        values = self._after_last_removal([value for _, _, value in writes])
        super().replay_writes([("", "", value) for value in values])

    def _after_last_removal(self, values: Sequence[Any]) -> list[Any]:
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
