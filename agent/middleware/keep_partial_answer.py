"""A run that is stopped keeps the text that the person has read.

However a run is stopped (the client, a chat route, Studio, another run that interrupts it), the
server cancels its tasks and throws the partial answer away. Here it is recorded as it arrives, and
the graph (`stoppable_graph`) saves it in the thread before the run ends: the text as a message of
the model, marked stopped; tool calls that were half written are left out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain.agents.middleware import (
    AgentMiddleware,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
)
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from agent.middleware.open_calls import with_open_calls_closed
from agent.model.partial import PartialAnswer, partial_answer
from agent.telemetry.runs import model_calls_of

MARK = {"finish_reason": "stopped"}

# By thread, and by the graph's namespace in it: the messages of the present step that the thread
# does not hold yet, as they are at the moment of asking; of an inner graph all, since none of its
# steps is in the thread before its end. A stop can happen at any moment, and a task that it cancels
# may be told later than the graph saves them.
Unsaved = dict[str, Callable[[], list[BaseMessage]]]
_unsaved: dict[str, Unsaved] = {}


@contextmanager
def unsaved_messages(config: RunnableConfig) -> Iterator[Unsaved]:
    """What the thread's run produces inside, and the thread does not hold yet.

    By the namespace of the graph that has; that of the thread's own graph is empty. Of an inner
    graph's run it yields nothing: when that ends its node has its messages, and when it is
    cancelled the outermost graph saves them.
    """
    thread_id, namespace = _thread_id(config), namespace_of(config)
    if namespace:
        try:
            yield {}
        except asyncio.CancelledError:
            raise
        except BaseException:
            _unsaved.get(thread_id, {}).pop(namespace, None)
            raise
        _unsaved.get(thread_id, {}).pop(namespace, None)
        return
    unsaved = _unsaved[thread_id] = {}
    try:
        yield unsaved
    finally:
        if _unsaved.get(thread_id) is unsaved:  # else the thread's next run has begun
            del _unsaved[thread_id]


class KeepPartialAnswer(AgentMiddleware[AgentState[Any], Any]):
    """Records a model call's text as it arrives, and closes calls that the last turn left open."""

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Calls are left open by a crash, or by a person who goes on without deciding."""
        repaired = list(with_open_calls_closed(request.messages))
        if len(repaired) == len(request.messages):
            return await _recorded(request, handler, [])
        rewrite: list[BaseMessage] = [RemoveMessage(REMOVE_ALL_MESSAGES), *repaired]
        response = await _recorded(request.override(messages=repaired), handler, rewrite)
        update = {"messages": [*rewrite, *response.result]}
        return ExtendedModelResponse(response, Command(update=update))


async def _recorded(
    request: ModelRequest[Any],
    handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    rewrite: Sequence[BaseMessage],
) -> ModelResponse[Any]:
    config = get_config()
    namespace = namespace_of(config).rpartition("|")[0]
    unsaved = _unsaved.get(_thread_id(config), {})
    before = request.messages if namespace else rewrite
    with model_calls_of(config), partial_answer() as calls:
        unsaved[namespace] = lambda: [*before, *_stopped(calls)]
        response = await handler(request)
    unsaved[namespace] = lambda: [*before, *response.result]
    return response


def _stopped(calls: Sequence[PartialAnswer]) -> Iterator[AIMessage]:
    """What the last call said, and what of dropped tries the person may still have before them."""
    for at, call in enumerate(calls, 1):
        partial = call.partial
        if partial.text and (call.is_dropped or at == len(calls)):
            yield AIMessage(partial.text, id=partial.id, response_metadata=MARK)


def namespace_of(config: RunnableConfig) -> str:
    """Which graph or node of the thread this is the config of, as LangGraph names it."""
    return str(config.get("configurable", {}).get("checkpoint_ns") or "")


def _thread_id(config: RunnableConfig) -> str:
    return str(config.get("configurable", {}).get("thread_id"))
