"""The assistant that a run names, and the graph of a thread, each read by one statement.

Of the assistants that come with the graphs each is read once, and a graph's schemas are made once:
that takes as long as several runs do, and holds up every stream of the process.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from aegra_api.api import threads
from aegra_api.services import assistant_service
from aegra_api.services.langgraph_service import get_langgraph_service
from aegra_api.utils.assistants import resolve_assistant_id
from fastapi import HTTPException

from agent.scale.connections import one_row

_GRAPHS = 100  # whose schemas are kept; a factory makes new ones again and again
_SYSTEM = "system"  # whose assistants nobody can change
_READ = """SELECT assistant_id, graph_id, config, context, user_id FROM assistant
           WHERE assistant_id = %s AND user_id IN (%s, %s)"""

_GRAPH = """SELECT metadata_json ->> 'graph_id' AS graph_id FROM thread
            WHERE thread_id = %s AND user_id = %s"""


class Assistant(NamedTuple):
    """A graph, with what its runs are configured with."""

    assistant_id: str
    graph_id: str
    config: dict[str, Any]
    context: dict[str, Any]


_of_graphs: dict[str, Assistant] = {}


async def assistant_of(name: Any, user_id: str) -> Assistant | None:
    """The assistant of this id, or the one of the graph of this name; None if the user has none."""
    assistant_id = resolve_assistant_id(str(name), get_langgraph_service().list_graphs())
    if known := _of_graphs.get(assistant_id):
        return known
    row = await one_row(_READ, (assistant_id, user_id, _SYSTEM))
    if row is None:
        return None
    assistant = Assistant(assistant_id, row["graph_id"], row["config"] or {}, row["context"] or {})
    if row["user_id"] == _SYSTEM:
        _of_graphs[assistant_id] = assistant
    return assistant


def apply() -> None:
    """Has Aegra read a thread's graph so, and nothing else of its row; and keep schemas."""

    async def graph_of_thread(thread_id: str, user: Any) -> str | None:
        row = await one_row(_GRAPH, (thread_id, user.identity))
        if row is None:
            raise HTTPException(404, f"Thread '{thread_id}' not found")
        graph_id: str | None = row["graph_id"]
        return graph_id

    threads._get_thread_graph_id = graph_of_thread
    extract = assistant_service._extract_graph_schemas
    assistant_service._extract_graph_schemas = lru_cache(maxsize=_GRAPHS)(extract)
