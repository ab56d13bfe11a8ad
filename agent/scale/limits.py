"""What a user may have, over all processes, however a run comes about.

Aegra makes each run in a transaction that first writes the thread's row. There the user's runs are
counted, in one transaction of a user at a time. Runs of crons and of commands it makes without
asking whether they are allowed; here it asks.
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

from agent.access.quota import allow_one_more


def apply() -> None:
    """Has Aegra make runs within them."""
    write, make = run_preparation.update_thread_metadata, run_preparation._prepare_run

    async def count_and_write(
        session: AsyncSession, *args: Any, user_id: str | None = None, **kwargs: Any
    ) -> None:
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(user_id))))
        active = Run.status.in_(ACTIVE_RUN_STATES)
        found = select(func.count()).select_from(Run).where(Run.user_id == user_id, active)
        allow_one_more(int(await session.scalar(found) or 0))
        await write(session, *args, user_id=user_id, **kwargs)

    async def make_if_allowed(
        session: AsyncSession, thread_id: str, request: Any, user: Any, **kwargs: Any
    ) -> Any:
        await runs._apply_create_run_auth(user, thread_id, request)
        return await make(session, thread_id, request, user, **kwargs)

    async def make_or_tell(*args: Any, **kwargs: Any) -> Any:
        """For who has no answer with a status: commands and crons know FastAPI's exception only."""
        try:
            return await make_if_allowed(*args, **kwargs)
        except HTTPException as error:
            raise fastapi.HTTPException(error.status_code, error.detail) from None

    run_preparation.update_thread_metadata = count_and_write
    crons._prepare_run = make_if_allowed
    commands._prepare_run = cron_scheduler._prepare_run = make_or_tell
