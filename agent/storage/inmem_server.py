"""What is used of the in-memory server under names that it may change, each checked before.

Of another shape than this was written for, nothing is used: `OtherServer` says what differs.
"""

import asyncio
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from langgraph.store.base import BaseStore

# by name: the fields that each row has
_LISTS = {"threads": {"thread_id", "created_at"}, "runs": {"thread_id"}, "crons": {"cron_id"}}


class OtherServer(Exception):
    """The in-memory server that is installed has something else under a name that is used."""


def is_used() -> bool:
    """Whether this process is an in-memory server, whose streams end with it."""
    return "langgraph_runtime_inmem.database" in sys.modules


def lists() -> MutableMapping[str, list[dict[str, Any]]]:
    """The server's lists of threads, runs and crons, to be changed in place. Raises OtherServer."""
    found = _value("database", "GLOBAL_STORE", MutableMapping)
    for name, fields in _LISTS.items():
        rows = found.get(name)
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and fields <= row.keys() for row in rows
        ):
            raise OtherServer(f"the rows of {name!r} are others")
    return found  # type: ignore[no-any-return]


def run_lock() -> asyncio.Lock:
    """Held while the server takes a run from its queue. Raises OtherServer."""
    return _value("ops", "RUN_LOCK", asyncio.Lock)  # type: ignore[no-any-return]


def own_store() -> tuple[BaseStore, Path]:
    """The server's own store, and the file that it is written into. Raises OtherServer."""
    store, file = _value("store", "STORE", BaseStore), _value("store", "_STORE_FILE", str)
    return store, Path(file)


def _value(module: str, name: str, kind: type) -> Any:
    path = f"langgraph_runtime_inmem.{module}"
    value = getattr(sys.modules.get(path), name, None)
    if not isinstance(value, kind):
        raise OtherServer(f"{path}.{name} is {type(value).__name__}, not {kind.__name__}")
    return value
