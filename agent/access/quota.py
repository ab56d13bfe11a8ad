"""How much one user may ask for: messages a minute, runs and streams at a time.

The limits hold for users who are known by a token. The person at this machine has none.
"""

import math
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

log = structlog.stdlib.get_logger(__name__)

_COUNT_RETRY_SECONDS = 2
_RUN_RETRY_SECONDS = 2
_STREAM_RETRY_SECONDS = 5


async def allow_message(user: str) -> None:
    """Counts a message. Raises HTTPException 429, with when to try again."""
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
        told, again = "Messages cannot be counted now: try again.", str(_COUNT_RETRY_SECONDS)
        raise HTTPException(503, told, {"Retry-After": again}) from None
    raise too_many(
        f"More than {config.steady_messages_per_minute} messages in a minute.",
        max(1, math.ceil(window.reset_time - time.time())),
    )


async def allow_run(user: str, asked: Any, own_steps: Any = None) -> None:
    """Counts a run, and holds it to the server's limits. Raises HTTPException 422 or 429.

    `asked` has the run's `input`, and the `config` that is held to the limit of steps; `own_steps`
    is its assistant's own limit.
    """
    config = settings()
    for words in ("input", "command", "context"):
        check_length(asked.get(words))
    run_config = asked["config"] = asked.get("config") or {}
    steps = run_config.get("recursion_limit") or own_steps or config.steady_max_steps
    if not isinstance(steps, int) or steps < 1:
        raise HTTPException(422, "recursion_limit must be a whole number of steps, 1 or more.")
    run_config["recursion_limit"] = min(steps, config.steady_max_steps)
    await allow_message(user)


def allow_one_more(going_on: int) -> None:
    """Raises HTTPException 429 if so many runs of a user, with those that wait, are enough."""
    if tokens().are_configured and going_on >= settings().steady_runs_per_user:
        raise too_many(f"{going_on} runs of yours are going on already.", _RUN_RETRY_SECONDS)


def check_length(said: Any) -> None:
    """Of every text in what a person's program sends. Raises HTTPException 422."""
    longest = settings().steady_longest_message_characters
    left = [said]
    while left:
        part = left.pop()
        if isinstance(part, str) and len(part) > longest:
            raise HTTPException(422, f"A text of over {longest} characters: say it in parts.")
        if isinstance(part, dict | list):
            left.extend(part.values() if isinstance(part, dict) else part)


class Streams:
    """The streams that are open, by user."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_of(self, user: str) -> Iterator[None]:
        """A stream, for as long as the context is open. Raises HTTPException 429 or 503."""
        config = settings()
        if self._open.total() >= config.steady_streams:
            told = f"This server has {config.steady_streams} streams open: try again in a moment."
            raise HTTPException(503, told, {"Retry-After": str(_STREAM_RETRY_SECONDS)})
        if tokens().are_configured and self._open[user] >= config.steady_streams_per_user:
            raise too_many(
                f"You have {config.steady_streams_per_user} streams open.", _STREAM_RETRY_SECONDS
            )
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            self._open += Counter()  # forgets who has none


def too_many(told: str, retry_after_seconds: int) -> HTTPException:
    """The answer to who asks for more than may be had."""
    again = f"{told} Try again in {retry_after_seconds} s."
    return HTTPException(429, again, {"Retry-After": str(retry_after_seconds)})


@lru_cache(maxsize=1)
def limiter() -> MovingWindowRateLimiter:
    """What counts the messages. Raises ValueError where its storage cannot be had."""
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
