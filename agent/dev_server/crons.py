"""A cron's fault is its own: it is refused, or that cron is disabled, and all others go on.

The in-memory server stores a cron's `end_time` as text and compares it with a datetime, stores a
schedule that never comes before it refuses it, and stops looking at the first cron that fails: one
such cron stops all others, over restarts. A time zone that is a region, such as "America", fails
with a status of 500.
"""

import asyncio
import copy
import functools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.exceptions import HTTPException

from agent.dev_server.patch import Patch, Shape

log = structlog.stdlib.get_logger(__name__)


def _apply(ops: Any) -> None:
    from langgraph_api.utils import next_cron_date

    put, update, turn = ops.Crons.put, ops.Crons.update, asyncio.Lock()

    async def check_dates(schedule: str, timezone: str | None, end_time: Any) -> datetime | None:
        """The end as a datetime. Raises HTTPException 422 if the cron could never run."""
        try:
            end = _datetime(end_time)
        except ValueError as error:
            raise HTTPException(
                422, f"end_time must be a date and time in ISO 8601, not {end_time!r}."
            ) from error
        try:
            await asyncio.to_thread(next_cron_date, schedule, datetime.now(UTC), timezone)
        except Exception as error:
            raise HTTPException(
                422, f"The schedule {schedule!r} never comes in the time zone {timezone or 'UTC'}."
            ) from error
        return end

    @functools.wraps(put)
    async def put_checked(conn: Any, **cron: Any) -> Any:
        ops.Crons._validate_cron_schedule_or_throw(cron["schedule"])
        cron["end_time"] = await check_dates(
            cron["schedule"], cron.get("timezone"), cron.get("end_time")
        )
        async with turn:  # or those that arrive together would pass the limit of a user's crons
            return await put(conn, **cron)

    @functools.wraps(update)
    async def update_checked(conn: Any, *, cron_id: Any, **changes: Any) -> Any:
        stored = _stored(conn, cron_id)
        if stored is not None:
            schedule = changes.get("schedule") or stored["schedule"]
            ops.Crons._validate_cron_schedule_or_throw(schedule)
            timezone = changes.get("timezone") or stored.get("timezone")
            changes["end_time"] = await check_dates(schedule, timezone, changes.get("end_time"))
        return await update(conn, cron_id=cron_id, **changes)

    @functools.wraps(ops.Crons.next)
    async def next_due(conn: Any, ctx: Any = None) -> AsyncIterator[Any]:
        now = datetime.now(UTC)
        for cron in list(conn.store["crons"]):
            try:
                if not _is_due(cron, now):
                    continue
                # set before the run is created: one that cannot be is not tried every five seconds
                cron["next_run_date"] = await asyncio.to_thread(
                    next_cron_date, cron["schedule"], now, cron.get("timezone")
                )
            except Exception as error:
                cron["enabled"] = False
                await log.aerror(f"The cron {cron['cron_id']} is disabled: {error}")
                continue
            yield {**cron, "payload": copy.deepcopy(cron["payload"]), "now": now}

    ops.Crons.put = staticmethod(put_checked)
    ops.Crons.update = staticmethod(update_checked)
    ops.Crons.next = staticmethod(next_due)


def _stored(conn: Any, cron_id: Any) -> Any:
    crons = conn.store["crons"]
    return next((cron for cron in crons if str(cron["cron_id"]) == str(cron_id)), None)


def _is_due(cron: Any, now: datetime) -> bool:
    if not cron.get("enabled", False):
        return False
    # rows of an unpatched server hold text
    end = cron["end_time"] = _datetime(cron.get("end_time"))
    return (end is None or end >= now) and cron["next_run_date"] <= now


def _datetime(value: Any) -> datetime | None:
    """A date and time, in UTC where it names no time zone. Raises ValueError."""
    if value is None:
        return None
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


CRONS = Patch(
    name="crons fail alone",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Crons.next": Shape(
            "conn ctx",
            """
            if cron.get("end_time") is not None and cron["end_time"] < now:
                continue
            if cron["next_run_date"] > now:
                continue
            """,
        ),
        "Crons.put": Shape(
            "conn payload schedule cron_id thread_id on_run_completed end_time metadata enabled"
            " timezone ctx",
            '"end_time": end_time,',
        ),
        "Crons.update": Shape(
            "conn cron_id schedule end_time clear_end_time enabled on_run_completed payload"
            " metadata timezone ctx",
            """
            if timezone is not None:
                cron["timezone"] = timezone
            """,
        ),
    },
    needs=("Crons._validate_cron_schedule_or_throw",),
    apply=_apply,
    loss="one cron with an end_time, or with a schedule that never comes, stops all crons",
)


def _check_time_zones(runs: Any) -> None:
    validate = runs.validate_timezone

    @functools.wraps(validate)
    def validate_timezone(timezone: str | None) -> str | None:
        try:
            checked: str | None = validate(timezone)
        except (OSError, ValueError) as error:  # of a region's folder, of a path outside
            raise HTTPException(
                422, f"Invalid timezone: {timezone!r}. Give an IANA name, such as 'Europe/Paris'."
            ) from error
        return checked

    runs.validate_timezone = validate_timezone


TIME_ZONES = Patch(
    name="wrong time zones are refused",
    module="langgraph_api.api.runs",
    replaces={"validate_timezone": Shape("timezone", "except (ZoneInfoNotFoundError, KeyError):")},
    apply=_check_time_zones,
    loss="a cron with a time zone such as 'America' is answered with a status of 500",
)
