"""A run that is stopped keeps what the person has read, and leaves a thread that can go on.

However a run is stopped (the client, a chat route, Studio, another run that interrupts it), the
server cancels its tasks, and by itself throws away what the model was saying. Here the cancelled
task writes it into the thread before it ends: the text as a message of the model, marked stopped;
tool calls that were half written are left out, and calls without a result get one that says so.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import aclosing
from typing import Any, Self, cast

import structlog
from langchain.agents.middleware import (
    AgentMiddleware,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
)
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, StateUpdate

from agent.model import partial_answer

log = structlog.stdlib.get_logger(__name__)

MARK = {"finish_reason": "stopped"}
STOPPED_CALL = "Stopped before there was a result. It may or may not have taken effect."
OPEN_CALL = "There is no result: the person went on before this call was carried out."
KEEP_SECONDS = 10.0

_ENDED = StateUpdate(None, as_node="__end__")
_CHECKPOINTER = "__pregel_checkpointer"  # where LangGraph passes it down to a run's tasks


class KeepWhatWasSaid(AgentMiddleware[AgentState[Any], Any]):
    """Writes a stopped run's last words into its thread; `graph` is the one it is part of."""

    graph: CompiledStateGraph[Any, Any, Any, Any] | None = None

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Also closes calls that were left open: by a crash, or by a person who did not decide."""
        repaired = list(_closed(request.messages))
        if len(repaired) == len(request.messages):
            return await self._kept(request, handler, [])
        written: list[BaseMessage] = [RemoveMessage(REMOVE_ALL_MESSAGES), *repaired]
        response = await self._kept(request.override(messages=repaired), handler, written)
        update = {"messages": [*written, *response.result]}
        return ExtendedModelResponse(response, Command(update=update))

    async def _kept(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
        written: Sequence[BaseMessage],
    ) -> ModelResponse[Any]:
        with partial_answer() as said:
            try:
                return await handler(request)
            except asyncio.CancelledError:
                words = [
                    AIMessage(each.text, id=each.id, response_metadata=MARK)
                    for each in said[-1:]
                    if each.text
                ]
                await _to_its_end(self._write([*written, *words], "model", get_config()))
                raise

    async def _write(
        self, messages: Sequence[BaseMessage], node: str, config: RunnableConfig
    ) -> None:
        """After what other tasks of the step have done: as if `node` had said it, and ended."""
        if self.graph is None or not messages or _CHECKPOINTER not in config["configurable"]:
            return
        said = StateUpdate({"messages": list(messages)}, as_node=node)
        await self.graph.abulk_update_state(_thread_of(config), [[_ENDED], [said], [_ENDED]])


class StoppableGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph whose runs, wherever they are stopped, leave a thread at rest: no call is open."""

    @classmethod
    def of(cls, compiled: CompiledStateGraph[Any, Any, Any, Any]) -> Self:
        """The same graph, made as LangGraph makes its own copies."""
        return cls(**vars(compiled))

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        made = cast(AsyncGenerator[Any], super().astream(input, config, **options))
        try:
            async with aclosing(made) as parts:
                async for part in parts:
                    yield part
        except (asyncio.CancelledError, GeneratorExit):
            if config is not None and self.checkpointer is not None:
                await _to_its_end(self._lay_to_rest(_thread_of(config)))
            raise

    async def _lay_to_rest(self, thread: RunnableConfig) -> None:
        """After all tasks of the step have done what they do when they are cancelled."""
        state = await self.aget_state(thread)
        if state.interrupts or not state.tasks:
            return
        steps = [[_ENDED]]
        if open_calls := unanswered(state.values.get("messages", ())):
            said = StateUpdate({"messages": open_calls}, as_node="tools")
            steps += [[said], [_ENDED]]
        await self.abulk_update_state(thread, steps)


def unanswered(messages: Sequence[AnyMessage]) -> list[ToolMessage]:
    """A result for each call of the last model message that has none."""
    return _results(list(_calls_open_before([*messages, HumanMessage("")]))[-1], STOPPED_CALL)


def _closed(messages: Sequence[AnyMessage]) -> Iterator[AnyMessage]:
    """The messages, with a result for each call that the next turn found open."""
    for message, calls in zip(messages, _calls_open_before(messages), strict=True):
        if not isinstance(message, ToolMessage):
            yield from _results(calls, OPEN_CALL)
        yield message


def _calls_open_before(messages: Iterable[AnyMessage]) -> Iterator[list[ToolCall]]:
    calls: dict[str | None, ToolCall] = {}
    for message in messages:
        yield list(calls.values())
        if isinstance(message, ToolMessage):
            calls.pop(message.tool_call_id, None)
        else:
            made = message.tool_calls if isinstance(message, AIMessage) else ()
            calls = {call["id"]: call for call in made}


def _results(calls: Iterable[ToolCall], words: str) -> list[ToolMessage]:
    return [
        ToolMessage(words, name=call["name"], tool_call_id=call["id"], status="error")
        for call in calls
    ]


def _thread_of(config: RunnableConfig) -> RunnableConfig:
    """Where the run's thread is kept; the update belongs to the run, as its metadata says."""
    inside = config["configurable"]
    kept = {key: inside[key] for key in ("thread_id", _CHECKPOINTER) if key in inside}
    return {"configurable": {**kept, "checkpoint_ns": ""}, "metadata": config.get("metadata", {})}


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Whoever is cancelled is cancelled again while he ends; this is short, and must be done."""
    task = asyncio.create_task(asyncio.wait_for(work, KEEP_SECONDS))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
        except Exception as error:
            await log.awarning(f"What a stopped run had said could not be kept: {error}")
