"""What a killed server forgot is found again, and what it was told to forget stays forgotten.

The in-memory server writes its list of threads into a file every ten seconds. A thread that was
made after the last time is in our file of threads all the same, and gets its place back here. One
that was deleted after it is in the list still, with its last words, and goes before a run begins.
"""

from typing import Any

import structlog
from langgraph_sdk import get_client

from agent.storage import inmem_server
from agent.storage.checkpointer import checkpointer

log = structlog.stdlib.get_logger(__name__)

_ROW_KEYS = ("graph_id", "assistant_id", "owner")  # what a run writes into its thread's row
_LISTS = ("threads", "runs", "crons")
_PAGE = 500


async def forget_threads() -> int:
    """Takes the threads that were deleted off the server's lists; returns how many were there.

    Raises OtherServer.
    """
    lists = inmem_server.lists()
    async with inmem_server.run_lock(), checkpointer() as kept:
        deleted = await kept.deleted_threads()
        made_again = {
            str(row["thread_id"])
            for row in lists["threads"]
            if row["created_at"].timestamp() > deleted.get(str(row["thread_id"]), 0.0)
        }
        gone, found = deleted.keys() - made_again, set[str]()
        for name in _LISTS:
            found |= gone & {str(row.get("thread_id")) for row in lists[name]}
            lists[name] = [row for row in lists[name] if str(row.get("thread_id")) not in gone]
        await kept.forget_deleted(deleted.keys() - found)  # the server's file knows
    return len(found)


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
