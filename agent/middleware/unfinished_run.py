"""A run whose server died: continued from its last checkpoint, if the server starts it again.

A server that finds a run whose worker died runs it again, with the input of its request. That input
is in the thread already, and so is each step that had ended: only what comes after is done.
"""

from collections.abc import Collection
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

_FORK_KEYS = ("checkpoint_id", "checkpoint_ns")
_STEP_KEYS = ("source", "step", "parents")  # of a checkpoint's metadata; the others are its run's


async def latest_checkpoint(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig
) -> CheckpointTuple | None:
    """The thread's latest checkpoint."""
    thread = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}
    return await saver.aget_tuple({"configurable": thread})


def is_of_this_run(latest: CheckpointTuple, config: RunnableConfig) -> bool:
    """Whether another worker has begun this very run.

    A checkpoint's metadata holds its run's id: LangGraph copies it there from `configurable`.
    """
    run_id = config["configurable"].get("run_id")
    return run_id is not None and str(latest.metadata.get("run_id")) == str(run_id)


def from_latest(config: RunnableConfig) -> RunnableConfig:
    """The config that continues from the thread's latest checkpoint, wherever the run began."""
    configurable = {k: v for k, v in config["configurable"].items() if k not in _FORK_KEYS}
    return {**config, "configurable": configurable}


def may_be_unfinished(latest: CheckpointTuple, state_keys: Collection[str]) -> bool:
    """Whether a next step may have been due: the last one of a run that ended updates the state
    alone, and nothing that a node waits for."""
    updated = latest.checkpoint.get("updated_channels")
    return updated is None or any(channel not in state_keys for channel in updated)


def as_run_of(latest: CheckpointTuple, config: RunnableConfig) -> RunnableConfig:
    """The config with which updates belong to the run that wrote the checkpoint."""
    configurable = {k: v for k, v in config["configurable"].items() if k != "run_id"}
    metadata = {k: v for k, v in latest.metadata.items() if k not in _STEP_KEYS}
    run = {"run_id": metadata["run_id"]} if "run_id" in metadata else {}
    return {**config, "configurable": {**configurable, **run}, "metadata": metadata}
