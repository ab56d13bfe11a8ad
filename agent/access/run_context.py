"""A run's `context` has only fields that its assistant's graph knows; the server drops others."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError
from starlette.exceptions import HTTPException

_GIVEN = "__context_provided__"  # how langgraph-api marks it; else `context` repeats `configurable`

_schemas: dict[str, Mapping[str, Any] | None] = {}  # by graph


async def check_run_context(assistant_id: Any, run: Mapping[str, Any]) -> None:
    """Checks the `context` of a run that is asked for on the LangGraph server.

    Raises HTTPException 422, which names the field.
    """
    context = run.get("context")
    configurable = (run.get("config") or {}).get("configurable") or {}
    if context and _GIVEN in configurable:
        refuse_unknown_fields(context, await _schema_of(str(assistant_id)))


async def _schema_of(assistant_id: str) -> Mapping[str, Any] | None:
    """The JSON schema of the context of an assistant's graph; None where it has none."""
    assistants = get_client(url=None).assistants
    try:
        graph_id = (await assistants.get(assistant_id))["graph_id"]
        if graph_id not in _schemas:
            schemas: Mapping[str, Any] = await assistants.get_schemas(assistant_id)
            _schemas[graph_id] = schemas.get("context_schema")
    except NotFoundError:  # the server tells of it in its own words
        return None
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
