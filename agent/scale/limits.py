"""A user's limit of runs, over all processes, for every way to create a run.

Aegra creates a run in a transaction that first writes the thread's row. The user's runs are counted
in that transaction, one at a time for each user. Aegra creates runs of crons and commands without
calling the authorization handlers; here they are called.
"""

from typing import Any

import fastapi
from aegra_api.api import crons, runs
from aegra_api.core.orm import Run
from aegra_api.services import cron_scheduler, run_preparation
from aegra_api.services.event_streaming import commands
from aegra_api.services.run_status import ACTIVE_RUN_STATES
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException

from agent.access.quota import allow_one_more_run


def apply() -> None:
    """Has Aegra create runs within the limits."""
    write, prepare = run_preparation.update_thread_metadata, run_preparation._prepare_run

    async def count_and_write(
        session: AsyncSession, *args: Any, user_id: str | None = None, **kwargs: Any
    ) -> None:
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(user_id))))
        active = Run.status.in_(ACTIVE_RUN_STATES)
        query = select(func.count()).select_from(Run).where(Run.user_id == user_id, active)
        allow_one_more_run(int(await session.scalar(query) or 0))
        await write(session, *args, user_id=user_id, **kwargs)

    async def prepare_if_allowed(
        session: AsyncSession, thread_id: str, request: Any, user: Any, **kwargs: Any
    ) -> Any:
        await runs._apply_create_run_auth(user, thread_id, request)
        return await prepare(session, thread_id, request, user, **kwargs)

    async def prepare_or_fastapi_error(*args: Any, **kwargs: Any) -> Any:
        """Commands and crons know only FastAPI's HTTPException."""
        try:
            return await prepare_if_allowed(*args, **kwargs)
        except HTTPException as error:
            raise fastapi.HTTPException(error.status_code, error.detail) from None

    run_preparation.update_thread_metadata = count_and_write
    crons._prepare_run = prepare_if_allowed
    commands._prepare_run = cron_scheduler._prepare_run = prepare_or_fastapi_error
