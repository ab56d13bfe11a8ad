"""What the server does when it starts, around the graphs and the routes."""

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import structlog
from langchain_core.utils.function_calling import convert_to_openai_tool

from agent import embedded
from agent.access.origins import allowed_origins
from agent.access.quota import limiter
from agent.access.tokens import tokens
from agent.dev_server import apply_patches
from agent.http import waiting
from agent.http.shutdown import graceful
from agent.model import endpoint
from agent.model.chat_model import chat_model
from agent.prompt import SYSTEM_PROMPT
from agent.settings import settings
from agent.storage.restore import forget_threads, restore_threads
from agent.storage.store import carry_over_items
from agent.telemetry.export import start_metrics, stop_metrics, watched_loop
from agent.telemetry.logs import start_json_logs
from agent.telemetry.traces import start_traces, stop_traces
from agent.tools import TOOLS
from agent.tools.mcp import MCP

log = structlog.stdlib.get_logger(__name__)


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Around the server's life: runs that start at once, short pauses, a warm embedded model."""
    if settings().steady_log_json:
        start_json_logs()
    _leave_out_idle_lines()
    _tell_who_is_served()
    _tell_jobs()
    _tell_model()
    start_metrics()
    start_traces()
    _shorten_pauses()
    apply_patches()
    if "langgraph_runtime_inmem" in sys.modules:
        await _mend_lists()
    MCP.start()
    warming = asyncio.create_task(_warm_embedded()) if settings().embedded else None
    try:
        async with watched_loop(), waiting.watched():
            with graceful(settings().steady_shutdown_seconds):
                yield
    finally:
        await MCP.stop()
        await asyncio.to_thread(stop_metrics)
        await asyncio.to_thread(stop_traces)
        if warming is not None:
            warming.cancel()


def _leave_out_idle_lines() -> None:
    """What is said at each request: that its users are ours, and that the model was asked.

    A line costs a hundredth of a short run.
    """
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for name in ("langgraph_api.auth.custom", "httpx2"):
            logging.getLogger(name).setLevel(logging.WARNING)


async def _mend_lists() -> None:
    """Each for itself: one that fails keeps neither the others nor the server from what they do."""
    for mend, loss in (
        (forget_threads, "threads that were deleted just before may be listed again"),
        (restore_threads, "threads that the server's list has lost stay out of it"),
        (carry_over_items, "items of an earlier version's store are not found"),
    ):
        try:
            await mend()
        except Exception as error:
            await log.aerror(f"What an earlier server left is not mended ({error}): {loss}.")


async def _warm_embedded() -> None:
    """Has the embedded model read the agent's prompt and tools before the first question does."""
    system = {"role": "system", "content": SYSTEM_PROMPT}
    tools = [convert_to_openai_tool(tool) for tool in TOOLS]
    try:
        await embedded.warm([system], tools, settings().steady_gguf)
    except embedded.EmbeddedError as error:
        await log.awarning(f"The embedded model is not ready: {error}")


def _tell_who_is_served() -> None:
    """Reads keys, limits and origins: a server with some that do not fit does not start."""
    allowed_origins()
    if tokens().are_configured:
        limiter()
        log.info("This server serves whoever brings a token.")
    else:
        log.info("This server knows no tokens: it serves this machine, and nobody else.")


def _tell_jobs() -> None:
    """`langgraph dev` alone runs one job at a time, which looks like a server that hangs."""
    jobs = os.environ.get("N_JOBS_PER_WORKER")
    if jobs == "1":
        log.warning(
            "This server runs 1 job at a time: a second stream waits for the first. "
            "Start it with `langgraph dev --n-jobs-per-worker 10`, or `make dev`."
        )
    elif jobs:
        log.info(f"This server runs up to {jobs} jobs at a time.")


def _tell_model() -> None:
    """A `.env` that was written after the start is not read: this says what holds."""
    config = settings()
    if trouble := endpoint.trouble(config):
        log.error(trouble)
    elif config.embedded:
        log.info("The embedded model answers: neither OPENAI_API_KEY nor OPENAI_BASE_URL is set.")
    else:
        log.info(f"The model {chat_model().model_name!r} at {endpoint.origin(config)} answers.")


def _shorten_pauses() -> None:
    """A garbage collection stops every stream for as long as it looks at what was made of late.

    What the imports left is for good: frozen, it is not looked at again. A collection of the new
    objects takes some milliseconds, one of the young ones 20 to 40: with five times as many, every
    stream has a gap of a quarter second now and then. A full one, 130 to 270 ms with 150 streams,
    comes after two and a half million new objects, and not after a quarter more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 40)
