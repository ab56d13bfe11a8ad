"""A user's limits, for every way to create a run.

Aegra creates runs of crons and commands without calling the authorization handlers; here they are
called. How many a user has is counted where a run is created (`guard.sql`).
"""

from typing import Any

import fastapi
from aegra_api.api import crons, runs
from aegra_api.services import cron_scheduler
from aegra_api.services.event_streaming import commands
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException

from agent.scale import dispatch


def apply() -> None:
    """Has Aegra create runs within the limits."""

    async def prepare_if_allowed(
        session: AsyncSession, thread_id: str, request: Any, user: Any, **kwargs: Any
    ) -> Any:
        await runs._apply_create_run_auth(user, thread_id, request)
        return await dispatch.prepare(session, thread_id, request, user, **kwargs)

    async def prepare_or_fastapi_error(*args: Any, **kwargs: Any) -> Any:
        """Commands and crons know only FastAPI's HTTPException."""
        try:
            return await prepare_if_allowed(*args, **kwargs)
        except HTTPException as error:
            raise fastapi.HTTPException(error.status_code, error.detail) from None

    crons._prepare_run = prepare_if_allowed
    commands._prepare_run = cron_scheduler._prepare_run = prepare_or_fastapi_error
