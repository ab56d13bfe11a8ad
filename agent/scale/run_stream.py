"""`POST /threads/{thread_id}/runs/stream` without the reads that creating the run does again."""

from collections.abc import MutableMapping
from typing import Annotated, Any

import structlog
from aegra_api.api import runs, stateless_runs
from aegra_api.core.auth_deps import auth_dependency, get_current_user
from aegra_api.core.sse import get_sse_headers, make_sse_response, sse_to_bytes
from aegra_api.models import RunCreate, User
from aegra_api.services.broker import broker_manager
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from redis import RedisError
from starlette.responses import Response

from agent.scale import dispatch
from agent.scale.broker import server_sent_events

log = structlog.stdlib.get_logger(__name__)

PATH = "/threads/{thread_id}/runs/stream"


async def create_and_stream_run(
    thread_id: str, request: RunCreate, user: Annotated[User, Depends(get_current_user)]
) -> Response:
    """A new run's events. Whose the thread is, the statement that creates the run sees."""
    await runs._apply_create_run_auth(user, thread_id, request)
    run_id, run, _ = await dispatch.prepare(None, thread_id, request, user)

    async def cancel(_: MutableMapping[str, Any]) -> None:
        try:
            await broker_manager.request_cancel(run_id, "cancel")
        except (RedisError, OSError) as error:
            await log.awarning(f"A run was not cancelled when its reader left: {error}")

    cancels = (request.on_disconnect or "cancel").lower() == "cancel"
    place = f"/threads/{thread_id}/runs/{run_id}"
    response: Response = make_sse_response(
        sse_to_bytes(server_sent_events(run)),
        close_handler=cancel if cancels else None,
        headers={**get_sse_headers(), "Location": f"{place}/stream", "Content-Location": place},
    )
    return response


def apply(app: FastAPI) -> None:
    """Has `app` ask here first."""
    route = APIRoute(
        PATH,
        create_and_stream_run,
        methods=["POST"],
        dependencies=auth_dependency,
        response_model=None,
        include_in_schema=False,
    )
    app.router.routes.insert(0, route)
    stateless_runs.create_and_stream_run = create_and_stream_run
