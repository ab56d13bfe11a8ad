"""The app that each process serves: `uvicorn agent.scale.server:app`.

Settings are those of `.env.example`, with `DATABASE_URI` (PostgreSQL) and `REDIS_URI`, which all
processes share. Aegra's own settings may be given, too; the defaults here have another worker take
over a dead one's runs within about ten seconds.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agent.settings import settings

_SHARED = {
    "DATABASE_URI": ("DATABASE_URL", settings().database_uri),
    "REDIS_URI": ("REDIS_URL", settings().redis_uri),
}
_DEFAULTS = {
    **{theirs: uri.get_secret_value() for theirs, uri in _SHARED.values() if uri},
    "AEGRA_CONFIG": str(Path(__file__).with_name("aegra.json")),
    "REDIS_BROKER_ENABLED": "true",
    "LEASE_DURATION_SECONDS": "9",
    "HEARTBEAT_INTERVAL_SECONDS": "3",
    "REAPER_INTERVAL_SECONDS": "3",
    "STUCK_PENDING_THRESHOLD_SECONDS": "10",
    "POSTGRES_POLL_INTERVAL_SECONDS": "1",
    "WORKER_DRAIN_TIMEOUT": "1",  # after STEADY_SHUTDOWN_SECONDS
    "N_JOBS_PER_WORKER": "50",  # of each of the three workers of a process
    "LANGGRAPH_MAX_POOL_SIZE": "20",
    "REDIS_MAX_CONNECTIONS": "1000",
    "LOG_LEVEL": "WARNING",
}
for _name, _value in _DEFAULTS.items():
    if not os.environ.get(_name):
        os.environ[_name] = _value
if _missing := [ours for ours, (theirs, _) in _SHARED.items() if not os.environ.get(theirs)]:
    raise SystemExit(
        f"Set {' and '.join(_missing)}, in the environment or in .env: all processes share it."
    )

from agent.scale import broker  # noqa: E402 - Aegra reads its settings when it is imported

broker.apply()

import psycopg  # noqa: E402
from aegra_api.main import app  # noqa: E402
from fastapi.exception_handlers import request_validation_exception_handler  # noqa: E402
from fastapi.exceptions import RequestValidationError  # noqa: E402
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: E402
from sqlalchemy.exc import DBAPIError  # noqa: E402
from starlette.responses import Response  # noqa: E402

from agent.middleware import stoppable_graph  # noqa: E402
from agent.scale import (  # noqa: E402
    aegra,
    assistants,
    connections,
    dispatch,
    guard,
    history,
    lease,
    limits,
    process,
    run_stream,
    stopping,
)
from agent.storage import namespaces  # noqa: E402

aegra.check()
connections.apply()
assistants.apply()
lease.apply()
history.apply()
dispatch.apply()
limits.apply()
process.apply()
stopping.apply()
run_stream.apply(app)
stoppable_graph.was_taken_over = lease.is_given_up
namespaces.ROOT = ("users",)  # where Aegra has each user's part of the store
for _kind in (DBAPIError, psycopg.Error):
    app.add_exception_handler(_kind, guard.refused)
_validation_error = app.exception_handlers.get(
    RequestValidationError, request_validation_exception_handler
)


@app.exception_handler(RequestValidationError)
async def _validation_error_or_rollback(request: Any, error: Any) -> Any:
    """Aegra does not know `rollback` as a way to cancel a run."""
    is_undone = request.query_params.get("action") == "rollback"
    return guard.cannot_undo() if is_undone else await _validation_error(request, error)


_lifespan = app.router.lifespan_context


@contextlib.asynccontextmanager
async def _guarded(served: Any) -> AsyncIterator[None]:
    async with lease.extended(), contextlib.AsyncExitStack() as stack:
        async with guard.turn_to_start():
            await stack.enter_async_context(_lifespan(served))
            await stack.enter_async_context(guard.watch())
        yield


app.router.lifespan_context = _guarded


@app.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """What this process measures (`agent.telemetry`); the gate says who may read it."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/ok", include_in_schema=False)
async def ok() -> dict[str, bool]:
    """Whether the process serves; `/health` also checks the storage."""
    return {"ok": True}
