"""Authentication and limits for Aegra, which has its own ownership rules.

Aegra stores the user's id in every row and reads no other user's. It passes the request's headers.
"""

from functools import lru_cache
from typing import Any

from aegra_api.core.orm import Assistant
from aegra_api.services.langgraph_service import get_langgraph_service
from aegra_api.settings import settings
from aegra_api.utils.assistants import resolve_assistant_id
from langgraph_sdk import Auth
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.datastructures import Headers

from agent.access.decisions import answers_by_interrupt, resumes
from agent.access.ownership import user_by_token
from agent.access.quota import allow_run
from agent.access.run_context import refuse_unknown_fields
from agent.access.tokens import Unauthorized
from agent.scale.process import note_request
from agent.storage.namespaces import store_name

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[str, str]) -> Auth.types.MinimalUserDict:
    """The user of the request's token, by an id that is valid in Aegra's store."""
    try:
        return {"identity": store_name(user_by_token(Headers(headers))), "is_authenticated": True}
    except Unauthorized as error:
        raise Auth.exceptions.HTTPException(status_code=401, detail=str(error)) from None


@auth.on.threads.create_run
async def within_limits(ctx: Auth.types.AuthContext, value: Any) -> None:
    """Holds a run to its user's limits; runs of commands and crons are checked in `limits`."""
    if "assistant_id" in value:
        graph_id, config = await _assistant(value["assistant_id"])
        if value.get("context"):
            refuse_unknown_fields(value["context"], await _context_schema(graph_id))
        await allow_run(str(ctx.user.identity), value, config.get("recursion_limit"))
        note_request(value["config"])
    if resumes(command := value.get("command")):
        answers_by_interrupt(command["resume"], await _state(ctx, value["thread_id"]))


async def _state(ctx: Auth.types.AuthContext, thread_id: Any) -> dict[str, Any]:
    """The state of a thread of the user's, as Aegra's own route has it."""
    from aegra_api.api.threads import get_thread_state  # it imports the rules of this module

    state = await get_thread_state(str(thread_id), False, None, ctx.user)
    return dict(state.model_dump(mode="json"))


async def _assistant(assistant: Any) -> tuple[str, dict[str, Any]]:
    """The graph and the config of an assistant, which may be named by its graph alone."""
    assistant_id = resolve_assistant_id(str(assistant), get_langgraph_service().list_graphs())
    row = select(Assistant.graph_id, Assistant.config).where(Assistant.assistant_id == assistant_id)
    async with _reading().connect() as connection:
        graph_id, config = (await connection.execute(row)).one_or_none() or ("", None)
    return graph_id, config or {}


async def _context_schema(graph_id: str) -> Any:
    """The JSON schema of a graph's context; None where it has none."""
    service = get_langgraph_service()
    if graph_id not in service.list_graphs():
        return None
    return (await service.get_graph_for_validation(graph_id)).get_context_jsonschema()


@lru_cache(maxsize=1)
def _reading() -> AsyncEngine:
    """Its own connections: the request holds one of Aegra's, and must not wait for a second one."""
    return create_async_engine(settings.db.database_url, pool_size=3, max_overflow=0)
