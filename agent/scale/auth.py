"""Authentication and limits for Aegra, which has its own ownership rules.

Aegra stores the user's id in every row and reads no other user's. It passes the request's headers.
"""

from typing import Any

from aegra_api.services.langgraph_service import get_langgraph_service
from langgraph_sdk import Auth
from starlette.datastructures import Headers

from agent.access.decisions import answers_by_interrupt, resumes
from agent.access.ownership import user_by_token
from agent.access.quota import allow_run
from agent.access.run_context import refuse_unknown_fields
from agent.access.tokens import Unauthorized
from agent.scale.assistants import assistant_of
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
        user_id = str(ctx.user.identity)
        assistant = await assistant_of(value["assistant_id"], user_id)
        if value.get("context") and assistant:
            refuse_unknown_fields(value["context"], await _context_schema(assistant.graph_id))
        steps = assistant.config.get("recursion_limit") if assistant else None
        await allow_run(user_id, value, steps)
        note_request(value["config"])
    if resumes(command := value.get("command")):
        answers_by_interrupt(command["resume"], await _state(ctx, value["thread_id"]))


async def _state(ctx: Auth.types.AuthContext, thread_id: Any) -> dict[str, Any]:
    """The state of a thread of the user's, as Aegra's own route has it."""
    from aegra_api.api.threads import get_thread_state  # it imports the rules of this module

    state = await get_thread_state(str(thread_id), False, None, ctx.user)
    return dict(state.model_dump(mode="json"))


async def _context_schema(graph_id: str) -> Any:
    """The JSON schema of a graph's context; None where it has none."""
    service = get_langgraph_service()
    if graph_id not in service.list_graphs():
        return None
    return (await service.get_graph_for_validation(graph_id)).get_context_jsonschema()
