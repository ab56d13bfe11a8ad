"""Whether the server should be given new work: what a balancer asks at `/ready`.

`/ok` says that the process is alive: one that is not should be started again. A server that is
alive and not ready needs nothing but time, or something beside it: its model, its storage, room on
its disk. Anybody may ask, so the answer names what is wrong, and only the log says why.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import structlog

from agent import embedded
from agent.access.ownership import server_rows
from agent.access.quota import is_shutting_down
from agent.model import endpoint
from agent.settings import settings
from agent.storage.health import check_disk, check_storage
from client.proxies import proxy_for

log = structlog.stdlib.get_logger(__name__)

Check = Callable[[], Awaitable[None]]

_CHECK_SECONDS = 3.0
_KEPT_SECONDS = 2.0  # anybody may ask, as often as they like
_PORTS = {"http": 80, "https": 443}


class NotReady(Exception):
    """What a check found wrong, in words for the log."""


async def check_model() -> None:
    """Raises where the model cannot be asked: settings, weights, or nobody listens there."""
    config = settings()
    if config.embedded:
        await asyncio.to_thread(embedded.check, config.steady_gguf)
        return
    if trouble := endpoint.trouble(config):
        raise NotReady(trouble)
    url = endpoint.base_url(config)
    proxy = proxy_for(url)
    parts = urlsplit(proxy[1] if proxy else url)
    port = parts.port or _PORTS.get(parts.scheme, 443)
    _, writer = await asyncio.open_connection(parts.hostname, port)
    writer.close()


async def check_queue() -> None:
    """Raises NotReady where a run has waited for longer than `STEADY_QUEUE_SECONDS` for its turn.

    A run that waits for another one on its thread does not count: that is how it was asked for.
    """
    runs = await server_rows("runs") or []
    now = datetime.now(UTC)
    busy = {run["thread_id"] for run in runs if run["status"] == "running"}
    waits_seconds = [
        (now - run["created_at"]).total_seconds()
        for run in runs
        if run["status"] == "pending" and run["thread_id"] not in busy
    ]
    longest_seconds = max(waits_seconds, default=0.0)
    if longest_seconds > settings().steady_queue_seconds:
        raise NotReady(f"A run has waited for {longest_seconds:.0f} s for its turn.")


# By the name that the answer gives it; `agent.scale` puts its own in their place.
checks: dict[str, Check] = {
    "model": check_model,
    "storage": check_storage,
    "disk": check_disk,
    "queue": check_queue,
}


class Readiness:
    """The answers of all checks, each time anew, but not more often than they can change much."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._checked_at = -_KEPT_SECONDS
        self._failed: list[str] = []

    async def failed(self) -> list[str]:
        """The names of the checks that fail now; `shutdown` while the server stops."""
        async with self._lock:
            if time.monotonic() - self._checked_at >= _KEPT_SECONDS:
                names = list(checks)
                results = await asyncio.gather(*map(_passes, names))
                self._failed = [n for n, ok in zip(names, results, strict=True) if not ok]
                self._checked_at = time.monotonic()
        return [*self._failed, *(["shutdown"] if is_shutting_down.is_set() else [])]


async def _passes(name: str) -> bool:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await checks[name]()
    except Exception as error:
        await log.awarning(f"Not ready: {name}: {type(error).__name__}: {error}")
        return False
    return True
