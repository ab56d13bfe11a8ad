"""A thread's history by metadata: Aegra asks LangGraph for it under another name than it has."""

from collections.abc import AsyncIterator
from typing import Any

from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot


def apply() -> None:
    """Has `aget_state_history` take `metadata`, as Aegra calls its `filter`."""
    read = Pregel.aget_state_history

    def by_metadata(
        graph: Any, config: Any, *, metadata: dict[str, Any] | None = None, **options: Any
    ) -> AsyncIterator[StateSnapshot]:
        return read(graph, config, filter=metadata, **options)

    Pregel.aget_state_history = by_metadata  # type: ignore[method-assign, assignment]
