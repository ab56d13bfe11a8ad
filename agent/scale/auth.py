"""Who somebody is, for Aegra, which asks with the headers alone; what is whose, it knows itself.

Aegra keeps the user's id in every row and looks for no other's. The limits are the agent's own.
"""

from functools import lru_cache
from typing import Any

from aegra_api.core.orm import Assistant
from aegra_api.settings import settings
from langgraph_sdk import Auth
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.datastructures import Headers

from agent.access.ownership import user_by
from agent.access.quota import allow_run
from agent.access.tokens import Unauthorized
from agent.storage.namespaces import store_name

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[str, str]) -> Auth.types.MinimalUserDict:
    """The user whose token came along, by a name that Aegra's store takes: it has others' too."""
    try:
        return {"identity": store_name(user_by(Headers(headers))), "is_authenticated": True}
    except Unauthorized as error:
        raise Auth.exceptions.HTTPException(status_code=401, detail=str(error)) from None


@auth.on.threads.create_run
async def within_limits(ctx: Auth.types.AuthContext, value: Any) -> None:
    """A run is made within what a user may have; a command's, when it is known (`limits`)."""
    if "assistant_id" in value:
        await allow_run(str(ctx.user.identity), value, await _steps_of(value["assistant_id"]))


async def _steps_of(assistant: Any) -> Any:
    """The limit of steps that an assistant brings; None if it brings none."""
    found = select(Assistant.config).where(Assistant.assistant_id == str(assistant))
    async with _reading().connect() as connection:
        return (await connection.scalar(found) or {}).get("recursion_limit")


@lru_cache(maxsize=1)
def _reading() -> AsyncEngine:
    """Connections of its own: whoever asks holds one of Aegra's, and must not wait for another."""
    return create_async_engine(settings.db.database_url, pool_size=3, max_overflow=0)
