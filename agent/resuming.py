"""A run that another worker began goes on from its last checkpoint; it does not begin anew.

A server that finds a run whose worker died runs it again, with the input it was asked for. That
input is in the thread already, and so is each step that had ended: only what comes after is done.
"""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver

_FORK = ("checkpoint_id", "checkpoint_ns")


async def going_on(
    saver: BaseCheckpointSaver[Any], input: Any, config: RunnableConfig
) -> tuple[Any, RunnableConfig]:
    """The input and config to run with: of a run that has checkpoints of its own, None and these.

    A checkpoint tells its run in its metadata, where LangGraph writes what `configurable` holds.
    """
    inside = config.get("configurable", {})
    run_id = inside.get("run_id")
    if run_id is None:
        return input, config
    place = {"thread_id": inside["thread_id"], "checkpoint_ns": ""}
    latest = await saver.aget_tuple({"configurable": place})
    if latest is None or str(latest.metadata.get("run_id")) != str(run_id):
        return input, config
    kept = {key: value for key, value in inside.items() if key not in _FORK}
    return None, {**config, "configurable": kept}
