"""All patches, in the order in which they are applied: the last of one function is outermost."""

import sys
from collections.abc import Sequence

import structlog

from agent.dev_server.checkpoint_history import CHECKPOINT_HISTORY
from agent.dev_server.crons import CRONS, TIME_ZONES
from agent.dev_server.event_queues import NEWS_OF_THREADS, NO_TASKS_PER_QUEUE
from agent.dev_server.joined_streams import RUN_STREAM, THREAD_STREAM
from agent.dev_server.lists import LISTS
from agent.dev_server.log_lines import NO_THREAD_PER_LOG_LINE
from agent.dev_server.mcp_answers import MCP_ANSWERS
from agent.dev_server.null_escapes import NULL_ESCAPES
from agent.dev_server.patch import Patch
from agent.dev_server.queue import QUEUE
from agent.dev_server.request_limits import REQUEST_LIMITS
from agent.dev_server.run_ends import RUN_END
from agent.dev_server.run_events import DROP_OLD_EVENTS
from agent.dev_server.run_limit import RUN_LIMIT
from agent.dev_server.straight_events import STRAIGHT_EVENTS
from agent.dev_server.stream_costs import (
    NO_SCOPE_PER_EVENT,
    NO_TASK_PER_RESPONSE,
    NO_TASKS_PER_EVENT,
    NO_THREAD_PER_EVENT,
    NO_UNSHOWN_METRICS,
)
from agent.dev_server.thread_index import THREAD_INDEX
from agent.dev_server.threads import (
    ONE_DELETION_AT_A_TIME,
    ONE_RUN_AT_A_TIME,
    RUNS_END_BEFORE_THEIR_THREAD,
)
from agent.dev_server.websocket_limits import WEBSOCKET_LIMITS
from agent.settings import settings

log = structlog.stdlib.get_logger(__name__)

PATCHES: tuple[Patch, ...] = (
    THREAD_INDEX,
    QUEUE,
    CHECKPOINT_HISTORY,
    ONE_DELETION_AT_A_TIME,
    ONE_RUN_AT_A_TIME,
    RUNS_END_BEFORE_THEIR_THREAD,
    RUN_LIMIT,
    DROP_OLD_EVENTS,
    THREAD_STREAM,
    STRAIGHT_EVENTS,
    RUN_STREAM,
    RUN_END,
    NO_TASKS_PER_QUEUE,
    NEWS_OF_THREADS,
    NULL_ESCAPES,
    NO_TASKS_PER_EVENT,
    NO_THREAD_PER_EVENT,
    NO_TASK_PER_RESPONSE,
    NO_SCOPE_PER_EVENT,
    NO_UNSHOWN_METRICS,
    NO_THREAD_PER_LOG_LINE,
    CRONS,
    TIME_ZONES,
    LISTS,
    MCP_ANSWERS,
    REQUEST_LIMITS,
    WEBSOCKET_LIMITS,
)


def apply_patches(patches: Sequence[Patch] = PATCHES) -> None:
    """Patches the in-memory server, and logs what was applied, what was not, and what is lost.

    Does nothing on other servers, and nothing at a second call.
    """
    if "langgraph_runtime_inmem.ops" not in sys.modules:
        return
    if not settings().steady_dev_patches:
        log.warning("Patches of the dev server are off (STEADY_DEV_PATCHES=false).")
        for patch in patches:
            log.warning(f"Without the patch {patch.name!r}: {patch.loss}.")
        return
    applied = []
    for patch in patches:
        if reason := patch.apply_once(sys.modules.get(patch.module)):
            log.warning(f"The patch {patch.name!r} is skipped: {reason}. Then {patch.loss}.")
        else:
            applied.append(patch.name)
    log.info(f"Patches of the dev server (STEADY_DEV_PATCHES=false: off): {', '.join(applied)}.")
