"""What a dead worker left: its run goes on from the last checkpoint, or the thread is laid to rest.

A server that finds a run whose worker died runs it again, with the input it was asked for. That
input is in the thread already, and so is each step that had ended: only what comes after is done.
"""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

_FORK = ("checkpoint_id", "checkpoint_ns")


async def latest_of(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig
) -> CheckpointTuple | None:
    """The thread's latest checkpoint."""
    place = {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}
    return await saver.aget_tuple({"configurable": place})


def is_of_this_run(latest: CheckpointTuple, config: RunnableConfig) -> bool:
    """Whether another worker has begun this very run.

    A checkpoint tells its run in its metadata, where LangGraph writes what `configurable` holds.
    """
    run_id = config["configurable"].get("run_id")
    return run_id is not None and str(latest.metadata.get("run_id")) == str(run_id)


def from_there(config: RunnableConfig) -> RunnableConfig:
    """The config that goes on from the thread's latest checkpoint, whichever the run began from."""
    inside = {key: value for key, value in config["configurable"].items() if key not in _FORK}
    return {**config, "configurable": inside}


def may_be_unfinished(latest: CheckpointTuple) -> bool:
    """Whether a next step may have been due: the last step of a run that ended updates nothing."""
    return latest.checkpoint.get("updated_channels") != []
