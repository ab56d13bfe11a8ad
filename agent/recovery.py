"""What a killed server forgot is found again.

The in-memory server writes its list of threads into a file every ten seconds. A thread that was
made after the last time is in our file of threads all the same, and gets its place back here.
"""

from typing import Any

import structlog
from langgraph_sdk import get_client

from agent.checkpoints import checkpointer

log = structlog.stdlib.get_logger(__name__)

_ROW_KEYS = ("graph_id", "assistant_id", "owner")  # what a run writes into its thread's row
_PAGE = 500


async def restore_threads() -> int:
    """Lists the threads that have checkpoints and are not listed; returns how many."""
    async with checkpointer() as kept:
        threads = await kept.threads()
    missing = set(threads) - await _listed()
    server = get_client(url=None)
    for thread_id in missing:
        row = {key: threads[thread_id][key] for key in _ROW_KEYS if key in threads[thread_id]}
        await server.threads.create(thread_id=thread_id, metadata=row, if_exists="do_nothing")
    if missing:
        await log.awarning(f"The server's list had lost {len(missing)} threads: restored.")
    return len(missing)


async def _listed() -> set[str]:
    """The ids of all threads in the server's list, whoever they belong to."""
    server, ids = get_client(url=None), set[str]()
    while True:
        page: list[Any] = await server.threads.search(
            limit=_PAGE, offset=len(ids), select=["thread_id"], sort_by="created_at"
        )
        ids |= {str(thread["thread_id"]) for thread in page}
        if len(page) < _PAGE:
            return ids
