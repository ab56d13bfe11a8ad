"""The server's lists (threads, runs, assistants, crons) are written on after a failed write.

The in-memory server writes them every ten seconds, from a thread that ends at its first error: a
disk that was full for some seconds ends the writing for the life of the process, and nothing says
so. A list that is empty at that moment is never looked at again.
"""

import functools
import threading
from typing import Any

import structlog

from agent.dev_server.patch import Patch, Shape

log = structlog.stdlib.get_logger(__name__)


class ListsNotWritten(Exception):
    """The lists could not be written to the disk; they are tried again every few seconds."""


def _apply(persistence: Any) -> None:
    failure: dict[str, Exception] = {}  # by file: why its last write failed

    @functools.wraps(persistence._flush_loop)
    def write_every_interval(stop: threading.Event) -> None:
        while not stop.wait(timeout=persistence._flush_interval):
            for filename, reference in list(persistence._stores.items()):
                if (store := reference()) is None:
                    persistence._stores.pop(filename, None)
                    continue
                try:
                    store.sync()
                except RuntimeError:  # it was changed meanwhile
                    continue
                except Exception as error:
                    if filename not in failure:
                        log.error(f"{filename} could not be written ({error}): it is retried.")
                    failure[filename] = error
                else:
                    if failure.pop(filename, None):
                        log.info(f"{filename} is written again.")

    registered = [store for ref in persistence._stores.values() if (store := ref()) is not None]
    persistence.stop_flush_loop()
    persistence._flush_loop = write_every_interval
    for store in registered:
        persistence.register_persistent_dict(store)
    _report_in_health_check(failure)


def _report_in_health_check(failure: dict[str, Exception]) -> None:
    """`GET /ok?check_db=1` runs the checks that `dependency_checks` returns."""
    from langgraph_runtime_inmem import database

    async def lists_are_written() -> None:
        if failure:
            raise ListsNotWritten(f"These files could not be written: {', '.join(failure)}")

    database.dependency_checks = lambda: {"lists": lists_are_written}


LISTS = Patch(
    name="lists are written after a failed write",
    module="langgraph_runtime_inmem._persistence",
    replaces={
        "_flush_loop": Shape(
            "stop_event",
            """
            if store := _stores[store_key]():
                store.sync()
            else:
                drop.add(store_key)
            """,
        ),
        "register_persistent_dict": Shape("d", "_stores[d.filename] = weakref.ref(d)"),
        "stop_flush_loop": Shape("", "_flush_thread[1].join()"),
    },
    needs=("_flush_interval", "_stores"),
    apply=_apply,
    loss="after a full disk, assistants, crons and new threads' rows are lost with the process",
)
