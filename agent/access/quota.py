"""How much one user may ask for: messages a minute, runs and streams at a time.

The limits hold for users who are known by a token. The person at this machine has none.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string
from starlette.exceptions import HTTPException

from agent.access.tokens import tokens
from agent.settings import settings
from agent.telemetry import metrics

log = structlog.stdlib.get_logger(__name__)

is_shutting_down = threading.Event()  # then nothing new is begun
_SHUTDOWN_RETRY_SECONDS = 2
_COUNT_RETRY_SECONDS = 2
_RUN_RETRY_SECONDS = 2
_STREAM_RETRY_SECONDS = 5
_LONGEST_DELAY_SECONDS = 366 * 24 * 3600


async def allow_message(user: str) -> None:
    """Counts a message. Raises HTTPException 429 or 503, with when to try again."""
    if is_shutting_down.is_set():
        raise HTTPException(
            503,
            "The server is stopping: try again in a moment.",
            {"Retry-After": str(_SHUTDOWN_RETRY_SECONDS)},
        )
    config = settings()
    if not tokens().are_configured:
        return
    rate = RateLimitItemPerMinute(config.steady_messages_per_minute)
    try:
        if await limiter().hit(rate, "messages", user):
            return
        window = await limiter().get_window_stats(rate, "messages", user)
    except StorageError as error:
        log.error(f"Messages cannot be counted: {type(error.storage_error).__name__}")
        raise HTTPException(
            503,
            "Messages cannot be counted now: try again.",
            {"Retry-After": str(_COUNT_RETRY_SECONDS)},
        ) from None
    raise rate_limited(
        f"More than {config.steady_messages_per_minute} messages in a minute.",
        max(1, math.ceil(window.reset_time - time.time())),
        "messages",
    )


async def allow_run(user: str, run: Any, assistant_steps: Any = None) -> None:
    """Counts a run, and holds it to the server's limits. Raises HTTPException 422 or 429.

    `run` has the run's `input`, and the `config` that is held to the limit of steps;
    `assistant_steps` is the limit that its assistant brings, None if it brings none.
    """
    config = settings()
    for field in ("input", "command", "context"):
        check_length(run.get(field))
    run_config = run["config"] = run.get("config") or {}
    steps = run_config.get("recursion_limit") or assistant_steps or config.steady_max_steps
    if not isinstance(steps, int) or steps < 1:
        raise HTTPException(422, "recursion_limit must be a whole number of steps, 1 or more.")
    run_config["recursion_limit"] = min(steps, config.steady_max_steps)
    await allow_message(user)


def runs_per_user() -> int | None:
    """How many active runs a user may have; None where there is no limit."""
    return settings().steady_runs_per_user if tokens().are_configured else None


def allow_one_more_run(active_runs: int) -> None:
    """Raises HTTPException 429 if a user with so many active runs may have no more of them."""
    if (most := runs_per_user()) is not None and active_runs >= most:
        raise rate_limited(
            f"{active_runs} runs of yours are going on already.", _RUN_RETRY_SECONDS, "runs"
        )


def check_delay(after_seconds: Any) -> None:
    """Checks when a run is to begin. Raises HTTPException 422: a negative delay jumps the queue."""
    is_number = isinstance(after_seconds, int | float) and not isinstance(after_seconds, bool)
    if not is_number or not 0 <= after_seconds <= _LONGEST_DELAY_SECONDS:
        raise HTTPException(
            422, f"after_seconds must be a number from 0 to {_LONGEST_DELAY_SECONDS} (a year)."
        )


def allow_one_more_cron(crons: int) -> None:
    """Raises HTTPException 422 if a user has so many crons that another is not allowed."""
    most = settings().steady_crons_per_user
    if tokens().are_configured and crons >= most:
        metrics.quota_refusals.add(1, {metrics.LIMIT: "crons"})
        raise HTTPException(422, f"You have {most} crons: delete one before you make another.")


def check_length(value: Any) -> None:
    """Checks every text in a JSON value. Raises HTTPException 422."""
    longest = settings().steady_longest_message_characters
    unchecked = [value]
    while unchecked:
        part = unchecked.pop()
        if isinstance(part, str) and len(part) > longest:
            raise HTTPException(422, f"A text of over {longest} characters: say it in parts.")
        if isinstance(part, list):
            unchecked.extend(part)
        elif isinstance(part, dict):
            unchecked.extend(each for key, each in part.items() if not _are_bytes(key, each))


def _are_bytes(key: str, value: Any) -> bool:
    """Whether this field is the bytes of an image or a file, which are no text."""
    is_data_url = isinstance(value, str) and value.startswith("data:image/")
    return key == "base64" or (key in ("url", "image_url") and is_data_url)


class Streams:
    """The streams that are open, by user."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def open_for(self, user: str) -> Iterator[None]:
        """Counts a stream as long as the context is open. Raises HTTPException 429 or 503."""
        config = settings()
        if self._open.total() >= config.steady_streams:
            raise HTTPException(
                503,
                f"This server has {config.steady_streams} streams open: try again in a moment.",
                {"Retry-After": str(_STREAM_RETRY_SECONDS)},
            )
        if tokens().are_configured and self._open[user] >= config.steady_streams_per_user:
            raise rate_limited(
                f"You have {config.steady_streams_per_user} streams open.",
                _STREAM_RETRY_SECONDS,
                "streams",
            )
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            self._open += Counter()  # forgets who has none


def rate_limited(reason: str, retry_after_seconds: int, limit: str) -> HTTPException:
    """The answer to a user who asks for more than one user may have of what `limit` names."""
    metrics.quota_refusals.add(1, {metrics.LIMIT: limit})
    message = f"{reason} Try again in {retry_after_seconds} s."
    return HTTPException(429, message, {"Retry-After": str(retry_after_seconds)})


@lru_cache(maxsize=1)
def limiter() -> MovingWindowRateLimiter:
    """Counts the messages. Raises ValueError where its storage cannot be had."""
    uri = settings().steady_limits_storage.get_secret_value()
    options = {"implementation": "redispy"} if uri.startswith("redis") else {}
    try:
        storage = storage_from_string(f"async+{uri}", wrap_exceptions=True, **options)
    except ConfigurationError:  # its words may hold the password
        raise ValueError(
            f"STEADY_LIMITS_STORAGE cannot be {urlsplit(uri).scheme}://...: it is memory://, or "
            "redis://... where the package redis is installed (pip install redis)."
        ) from None
    assert isinstance(storage, Storage)  # noqa: S101 - `async+` makes it one
    return MovingWindowRateLimiter(storage)
