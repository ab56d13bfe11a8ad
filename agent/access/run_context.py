"""A context has only fields that its graph knows; the server would drop others in silence."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from langgraph_sdk import get_client
from starlette.exceptions import HTTPException

_GIVEN = "__context_provided__"  # how langgraph-api marks it; else `context` repeats `configurable`

_schemas: dict[str, Mapping[str, Any] | None] = {}  # by graph


def context_of(run: Mapping[str, Any]) -> Any:
    """The `context` that a run of the LangGraph server is asked with; None where it has none."""
    configurable = (run.get("config") or {}).get("configurable") or {}
    return run.get("context") if _GIVEN in configurable else None


async def check_context(context: Any, graph_id: str | None) -> None:
    """Checks a run's or an assistant's context for what the graph knows; without one, nothing.

    Raises HTTPException 422, which names the field.
    """
    if context and graph_id:
        refuse_unknown_fields(context, await _schema_of(graph_id))


async def _schema_of(graph_id: str) -> Mapping[str, Any] | None:
    """The JSON schema of the context of a graph; None where it has none."""
    if graph_id not in _schemas:
        assistants = get_client(url=None).assistants
        found: list[Any] = await assistants.search(graph_id=graph_id, limit=1)
        if not found:
            return None  # the server tells in its own words that it has no such graph
        schemas: Mapping[str, Any] = await assistants.get_schemas(found[0]["assistant_id"])
        _schemas[graph_id] = schemas.get("context_schema")
    return _schemas[graph_id]


def refuse_unknown_fields(context: Any, schema: Mapping[str, Any] | None) -> None:
    """Raises HTTPException 422 for a field of `context` that `schema` does not have.

    A schema that names no fields, or allows others, takes anything.
    """
    fields = (schema or {}).get("properties")
    if not fields or (schema or {}).get("additionalProperties") or not isinstance(context, dict):
        return
    for name in context:
        if name not in fields:
            similar = get_close_matches(str(name), fields, 1)
            question = f" Did you mean {similar[0]!r}?" if similar else ""
            raise HTTPException(
                422, f"context has no field {name!r}.{question} It has: {', '.join(fields)}."
            )
