"""A run that is stopped keeps what the person has read, and leaves a thread that can go on.

However a run is stopped (the client, a chat route, Studio, another run that interrupts it), the
server cancels its tasks, and by itself throws away what the model was saying. Here it is noted as
it comes, and the graph writes it into the thread before the run ends: the text as a message of the
model, marked stopped; tool calls that were half written are left out, and calls without a result
get one that says so.
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
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.config import get_config
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from agent.middleware.approval import check_answer
from agent.middleware.resuming import from_there, is_of_this_run, latest_of, may_be_unfinished
from agent.model.partial import partial_answer

log = structlog.stdlib.get_logger(__name__)

MARK = {"finish_reason": "stopped"}
STOPPED_CALL = "Stopped before there was a result. It may or may not have taken effect."
OPEN_CALL = "There is no result: the person went on before this call was carried out."
KEEP_SECONDS = 10.0

_OF_THE_STEP = ("source", "step", "parents")  # in a checkpoint's metadata; the rest is the run's
_CHECKPOINTER = "__pregel_checkpointer"  # where LangGraph passes it down to a run's tasks


class KeepWhatWasSaid(AgentMiddleware[AgentState[Any], Any]):
    """Notes a stopped model call's words, and closes calls that the turn before left open."""

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Calls are left open by a crash, or by a person who goes on without deciding."""
        repaired = list(_closed(request.messages))
        if len(repaired) == len(request.messages):
            return await _noted(request, handler, [])
        written: list[BaseMessage] = [RemoveMessage(REMOVE_ALL_MESSAGES), *repaired]
        response = await _noted(request.override(messages=repaired), handler, written)
        update = {"messages": [*written, *response.result]}
        return ExtendedModelResponse(response, Command(update=update))


def goes_on_elsewhere(run_id: str) -> bool:
    """Whether a run's task is cancelled because another worker goes on with the run."""
    return False  # a server of one process has no other


# By thread: what its run has said last, as it stands when it is asked for. A stop can strike at any
# moment, and a task that it cancels may hear of it later than the thread is laid to rest.
_last_words: dict[str, Callable[[], list[BaseMessage]]] = {}


async def _noted(
    request: ModelRequest[Any],
    handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    written: Sequence[BaseMessage],
) -> ModelResponse[Any]:
    thread_id = _thread_id(get_config())
    with partial_answer() as said:
        _last_words[thread_id] = lambda: [*written, *_stopped(call.partial for call in said[-1:])]
        response = await handler(request)
    _last_words[thread_id] = lambda: [*written, *response.result]
    return response


def _stopped(partials: Iterable[AIMessage]) -> Iterator[AIMessage]:
    return (AIMessage(m.text, id=m.id, response_metadata=MARK) for m in partials if m.text)


class StoppableGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph whose runs, wherever they are stopped, leave a thread at rest: no call is open."""

    @classmethod
    def of(cls, compiled: CompiledStateGraph[Any, Any, Any, Any]) -> Self:
        """The same graph, made as LangGraph makes its own copies."""
        return cls(**vars(compiled))

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        if config is not None and isinstance(self.checkpointer, BaseCheckpointSaver):
            input, config = await self._after_a_death(self.checkpointer, input, config)
            if isinstance(input, Command) and input.resume is not None:
                check_answer(input.resume, (await self.aget_state(config)).interrupts)
        made = cast(AsyncGenerator[Any], super().astream(input, config, **options))
        try:
            async with aclosing(made) as parts:
                async for part in parts:
                    yield part
        except (asyncio.CancelledError, GeneratorExit):
            run_id = str((config or {}).get("configurable", {}).get("run_id"))
            if config and self.checkpointer is not None and not goes_on_elsewhere(run_id):
                await _to_its_end(self._lay_to_rest(config))
            raise
        finally:
            _last_words.pop(_thread_id(config or {}), None)

    async def _after_a_death(
        self, saver: BaseCheckpointSaver[Any], input: Any, config: RunnableConfig
    ) -> tuple[Any, RunnableConfig]:
        """What to run with, on a thread where a run may have been left in the middle."""
        latest = await latest_of(saver, config)
        if latest is None:
            return input, config
        if is_of_this_run(latest, config):
            return None, from_there(config)
        begins = isinstance(input, dict) and "checkpoint_id" not in config["configurable"]
        if begins and may_be_unfinished(latest):
            await self._lay_to_rest(_as_run(latest, config))
        return input, config

    async def _lay_to_rest(self, config: RunnableConfig) -> None:
        """After the run's tasks have ended and its last checkpoint is written, not before."""
        thread, said = _thread_of(config), _last_words.get(_thread_id(config), list)()
        state = await self.aget_state(thread)
        if state.interrupts or not state.tasks:
            return
        await self.aupdate_state(thread, None, as_node="__end__")
        kept = {message.id for message in await self._messages(thread)}
        if said and said[-1].id not in kept:
            await self.aupdate_state(thread, {"messages": said}, as_node="model")
        if open_calls := unanswered(await self._messages(thread)):
            await self.aupdate_state(thread, {"messages": open_calls}, as_node="tools")
        await self.aupdate_state(thread, None, as_node="__end__")

    async def _messages(self, thread: RunnableConfig) -> Sequence[AnyMessage]:
        values: dict[str, Sequence[AnyMessage]] = (await self.aget_state(thread)).values
        return values.get("messages", ())


def unanswered(messages: Sequence[AnyMessage]) -> list[ToolMessage]:
    """A result for each call of the last model message that has none."""
    return _results(list(_calls_open_before([*messages, HumanMessage("")]))[-1], STOPPED_CALL)


def _closed(messages: Sequence[AnyMessage]) -> Iterator[AnyMessage]:
    """The messages, with a result for each call that the next turn found open."""
    for message, calls in zip(messages, _calls_open_before(messages), strict=True):
        if calls and not isinstance(message, ToolMessage):
            yield from _results(calls, OPEN_CALL)
        yield message


def _calls_open_before(messages: Iterable[AnyMessage]) -> Iterator[Sequence[ToolCall]]:
    calls: dict[str | None, ToolCall] = {}
    for message in messages:
        yield list(calls.values()) if calls else ()
        if isinstance(message, ToolMessage):
            calls.pop(message.tool_call_id, None)
        elif isinstance(message, AIMessage) and message.tool_calls:
            calls = {call["id"]: call for call in message.tool_calls}
        elif calls:
            calls = {}


def _results(calls: Iterable[ToolCall], words: str) -> list[ToolMessage]:
    return [
        ToolMessage(words, name=call["name"], tool_call_id=call["id"], status="error")
        for call in calls
    ]


def _thread_id(config: RunnableConfig) -> str:
    return str(config.get("configurable", {}).get("thread_id"))


def _thread_of(config: RunnableConfig) -> RunnableConfig:
    """Where the run's thread is kept; what is written is the run's, and rolls back with it."""
    inside = config["configurable"]
    kept = {key: inside[key] for key in ("thread_id", _CHECKPOINTER) if key in inside}
    run = {"run_id": str(inside["run_id"])} if "run_id" in inside else {}
    return {
        "configurable": {**kept, "checkpoint_ns": ""},
        "metadata": {**config.get("metadata", {}), **run},
    }


def _as_run(latest: CheckpointTuple, config: RunnableConfig) -> RunnableConfig:
    """What is written under this config belongs to the run that the checkpoint is of."""
    inside = {k: v for k, v in config["configurable"].items() if k != "run_id"}
    told = {k: v for k, v in latest.metadata.items() if k not in _OF_THE_STEP}
    run = {"run_id": told["run_id"]} if "run_id" in told else {}
    return {**config, "configurable": {**inside, **run}, "metadata": told}


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
