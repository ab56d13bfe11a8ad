"""A graph whose runs, however they end, leave a thread that the next run can continue.

A run that is stopped saves what the person has read. A run whose server died is continued from its
last checkpoint, or, when the next run is another one, closed as a stopped run is.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Self, cast

import structlog
from langchain_core.messages import AnyMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.constants import CONFIG_KEY_CHECKPOINTER
from langgraph.graph.state import CompiledStateGraph

from agent.middleware.dropped_message import DroppedMessages
from agent.middleware.keep_partial_answer import namespace_of, unsaved_messages
from agent.middleware.open_calls import results_for_last_calls
from agent.middleware.unfinished_run import (
    as_run_of,
    from_latest,
    is_of_this_run,
    latest_checkpoint,
    may_be_unfinished,
)
from agent.telemetry import metrics
from agent.telemetry.runs import MeasuredRun

log = structlog.stdlib.get_logger(__name__)

SAVE_SECONDS = 10.0


def was_taken_over(run_id: str) -> bool:
    """Whether a run's task is cancelled because another process continues the run.

    `agent.scale` replaces it; with one process there is no other.
    """
    return False


class StoppableGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled graph that saves the partial answer and closes open calls when it is stopped.

    As a part of another one, it leaves that to the outermost, which has the thread.
    """

    @classmethod
    def of(cls, compiled: CompiledStateGraph[Any, Any, Any, Any]) -> Self:
        """The same graph, copied as LangGraph copies its own.

        Args:
            compiled: the graph, as `create_agent` or `StateGraph.compile` makes it.
        """
        return cls(**vars(compiled))

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        full_config = ensure_config(config)
        with MeasuredRun(self.name, config) as run, unsaved_messages(full_config) as unsaved:
            if config is not None and isinstance(self.checkpointer, BaseCheckpointSaver):
                input, config, is_continued = await self._continue_or_close_unfinished(
                    self.checkpointer, input, config
                )
                run.begin(is_continued=is_continued)
            dropped = DroppedMessages(options)
            stream = cast(AsyncGenerator[Any], super().astream(input, config, **options))
            try:
                async with aclosing(stream) as parts:
                    async for part in parts:
                        for each in dropped.parts(part):
                            yield each
            except (asyncio.CancelledError, GeneratorExit):
                run_id = str((config or {}).get("configurable", {}).get("run_id"))
                if was_taken_over(run_id):
                    run.leave()
                elif config and self.checkpointer is not None and not namespace_of(full_config):
                    produced = {at: dropped.those_left(of()) for at, of in unsaved.items()}
                    await _uncancelled(self._save_partial_and_close_calls(config, produced))
                raise

    async def _continue_or_close_unfinished(
        self, saver: BaseCheckpointSaver[Any], input: Any, config: RunnableConfig
    ) -> tuple[Any, RunnableConfig, bool]:
        """The input and config to run with, on a thread whose last run may not have ended, and
        whether it is this very run."""
        latest = await latest_checkpoint(saver, config)
        if latest is None:
            return input, config, False
        if is_of_this_run(latest, config):
            return None, from_latest(config), True
        is_new_turn = isinstance(input, dict) and "checkpoint_id" not in config["configurable"]
        if is_new_turn and may_be_unfinished(latest, self.builder.channels):
            await self._save_partial_and_close_calls(as_run_of(latest, config), {})
        return input, config, False

    async def _save_partial_and_close_calls(
        self, config: RunnableConfig, produced: Mapping[str, list[BaseMessage]]
    ) -> None:
        """To be called after the run's tasks have ended and its last checkpoint is written.

        What some of the tasks brought to an end is saved first. Otherwise the partial answer comes
        right after the checkpoint that the model was called from: clients of other makers
        regenerate a message from the checkpoint before the one that first had it.
        """
        thread = _thread_config(config)
        state = await self.aget_state(thread)
        if state.interrupts or not state.tasks:
            return
        if any(task.result is not None for task in state.tasks):
            await self.aupdate_state(thread, None, as_node="__end__")
        saved_ids = {message.id for message in await self._messages(thread)}
        tools = "tools"
        for namespace, messages in produced.items():
            if _is_for_program(namespace):
                continue
            if namespace:
                messages = [m for m in messages if m.id not in saved_ids and m.type != "human"]
            if new_ids := {m.id for m in messages if m.type != "remove"} - saved_ids:
                metrics.partials_kept.add(int(messages[-1].id in new_ids))
                node = namespace.partition(":")[0]
                tools = node or tools
                await self.aupdate_state(thread, {"messages": messages}, as_node=node or "model")
        if results := results_for_last_calls(await self._messages(thread)):
            await self.aupdate_state(thread, {"messages": results}, as_node=tools)
        await self.aupdate_state(thread, None, as_node="__end__")

    async def _messages(self, thread: RunnableConfig) -> Sequence[AnyMessage]:
        values: dict[str, Sequence[AnyMessage]] = (await self.aget_state(thread)).values
        return values.get("messages", ())


def _is_for_program(namespace: str) -> bool:
    """Whether it is within a tool or a hook of middleware: nobody was shown what is said there."""
    nodes = [step.partition(":")[0] for step in namespace.split("|")]
    return any(node == "tools" or "." in node for node in nodes)


def _thread_config(config: RunnableConfig) -> RunnableConfig:
    """The thread of a run; what is written under it is the run's, and is rolled back with it."""
    configurable = config["configurable"]
    thread = {
        key: configurable[key]
        for key in ("thread_id", CONFIG_KEY_CHECKPOINTER)
        if key in configurable
    }
    run = {"run_id": str(configurable["run_id"])} if "run_id" in configurable else {}
    return {
        "configurable": {**thread, "checkpoint_ns": ""},
        "metadata": {**config.get("metadata", {}), **run},
    }


async def _uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Waits for `work`, through further cancellations: it is short, and must be done."""
    task = asyncio.create_task(asyncio.wait_for(work, SAVE_SECONDS))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue
        except Exception as error:
            await log.awarning(f"The partial answer of a stopped run could not be saved: {error}")
