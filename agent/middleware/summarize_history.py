"""The model is sent a long thread's latest turns, and a summary of those before them."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, NotRequired, TypedDict

from langchain.agents.middleware import ModelRequest, ModelResponse, SummarizationMiddleware
from langchain.agents.middleware.types import AgentState, PrivateStateAttr
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage
from langgraph.channels import DeltaChannel
from langgraph.config import get_stream_writer
from langgraph.runtime import Runtime

from agent.middleware.thread_state import ThreadState
from agent.middleware.trim_history import latest_turns
from agent.model.token_count import Count, count_message, estimate_tokens


class Summary(TypedDict):
    """A summary, as the message that the model is sent, and the id of the message after it."""

    message: AnyMessage
    before_id: str


def _latest(_: Any, summaries: Sequence[Summary]) -> Summary:
    return summaries[-1]


class SummarizedState(ThreadState):
    """A thread's state with its summary, which is stored where it is made, not at every step."""

    summary: NotRequired[
        Annotated[
            dict[str, Any],
            DeltaChannel(_latest, dict, snapshot_frequency=1),  # the walk back ends at the last one
            PrivateStateAttr,
        ]
    ]


class SummarizeHistory(SummarizationMiddleware[Any, Any]):
    """Has the turns that `TrimHistory` would leave out summarized by LangChain's middleware.

    LangChain's own would put the summary in the place of the messages. Here the thread keeps them:
    the summary stands beside them in its state, and is sent instead until more has to be left out.
    So the model is sent the same beginning from turn to turn. A `progress` event tells of each new
    summary, which also holds what the one before it said.

    Args:
        model: writes the summaries.
        tokens: about how many tokens are sent beside the summary, at most.
        count: says how many tokens a text has. Default: an estimate by its script.
    """

    state_schema = SummarizedState

    def __init__(self, model: BaseChatModel, tokens: int, count: Count = estimate_tokens) -> None:
        # It is given what is to be summarized and the message after that: that one it keeps.
        super().__init__(
            model,
            trigger=("messages", 1),
            keep=("messages", 1),
            token_counter=lambda messages: _size(messages, count),
            trim_tokens_to_summarize=tokens,
        )
        self._tokens = tokens
        self._count = count

    async def abefore_model(
        self, state: AgentState[Any], runtime: Runtime[Any]
    ) -> dict[str, Any] | None:
        messages: list[AnyMessage] = state["messages"]
        first = len(messages) - len(latest_turns(messages, self._tokens, self._count))
        earlier, done = _summary(state)
        if first <= done:
            return None
        given = [*earlier, *messages[done : first + 1]]
        update = await super().abefore_model({**state, "messages": given}, runtime)
        if update is None:
            return None
        _, summary, kept = update["messages"]
        get_stream_writer()({"type": "history", "summarized_messages": first})
        return {"summary": Summary(message=summary, before_id=kept.id)}

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        summary, done = _summary({**request.state, "messages": request.messages})
        return await handler(request.override(messages=[*summary, *request.messages[done:]]))


def _summary(state: Any) -> tuple[list[AnyMessage], int]:
    """The summary as a message, and how many messages it stands for; none where one of them is
    no longer there."""
    summary = state.get("summary") or {}
    ids = [message.id for message in state["messages"]]
    if summary.get("before_id") not in ids:
        return [], 0
    return [summary["message"]], ids.index(summary["before_id"])


def _size(messages: Iterable[Any], count: Count) -> int:
    return sum(count_message(message, count) for message in messages)
