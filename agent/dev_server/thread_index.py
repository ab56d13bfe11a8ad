"""A thread and its runs are found by an index, and not by a search through all that there are.

The in-memory server remembers every run and every thread, and looks through the whole of both lists
some ten times for each run: a thousand runs make the next one half as dear again.
"""

import copy
import functools
import inspect
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from agent.dev_server.patch import Patch, Shape

_LISTS = ("runs", "threads")


class _Index:
    """Where in a list each thread's items are.

    The server appends, deletes, and puts an item in the place of another of the same thread: as
    long as the last item that was indexed is where it was, those before it are.
    """

    def __init__(self) -> None:
        self._begin([])

    def _begin(self, items: list[Any]) -> None:
        self._items, self._last, self._size = items, None, 0
        self._places = defaultdict[UUID, list[int]](list)

    def of(self, items: list[Any], thread_id: UUID) -> list[Any]:
        """The items of this thread, in the list's order."""
        size = self._size
        is_as_before = items is self._items and len(items) >= size
        if not is_as_before or (size and items[size - 1] is not self._last):
            self._begin(items)
        for place in range(self._size, len(items)):
            self._places[items[place]["thread_id"]].append(place)
        if items:
            self._last, self._size = items[-1], len(items)
        return [items[place] for place in self._places.get(thread_id, ())]


_indexes = {name: _Index() for name in _LISTS}


def of_thread(store: Any, name: str, thread_id: UUID) -> list[Any]:
    """The store's `runs` of this thread, or its `threads`: one or none."""
    return _indexes[name].of(store[name], thread_id)


class _ItemsOfThread:
    """What a function that looks for a thread's items does with one of the store's lists."""

    def __init__(self, store: Any, name: str, thread_id: UUID) -> None:
        self._store, self._name, self._thread_id = store, name, thread_id

    def __iter__(self) -> Iterator[Any]:
        return iter(of_thread(self._store, self._name, self._thread_id))

    def append(self, item: Any) -> None:
        self._store[self._name].append(item)


class _StoreOfThread:
    def __init__(self, store: Any, thread_id: UUID) -> None:
        self.whole, self._thread_id = store, thread_id

    def __getitem__(self, name: str) -> Any:
        is_list = name in _LISTS
        return _ItemsOfThread(self.whole, name, self._thread_id) if is_list else self.whole[name]


def _whole(conn: Any) -> Any:
    """The connection, with all that is in its store."""
    if not isinstance(conn.store, _StoreOfThread):
        return conn
    whole = copy.copy(conn)
    whole.store = conn.store.whole
    return whole


def _on_whole_store(function: Any) -> Any:
    @functools.wraps(function)
    async def call(conn: Any, *args: Any, **kwargs: Any) -> Any:
        return await function(_whole(conn), *args, **kwargs)

    return staticmethod(call)


def _on_store_of_thread(function: Any) -> Any:
    """The function, which finds nothing in the store's lists but what is of the thread it names."""
    at = list(inspect.signature(function).parameters).index("thread_id") - 1

    @functools.wraps(function)
    async def call(conn: Any, *args: Any, **kwargs: Any) -> Any:
        thread_id = args[at] if at < len(args) else kwargs.get("thread_id")
        conn = _whole(conn)
        if thread_id is not None:
            store, conn = conn.store, copy.copy(conn)
            conn.store = _StoreOfThread(store, UUID(str(thread_id)))
        return await function(conn, *args, **kwargs)

    return staticmethod(call)


def _apply(ops: Any) -> None:
    threads, runs = ops.Threads, ops.Runs
    for name in ("_get_with_filters", "put", "set_status", "set_joint_status"):
        setattr(threads, name, _on_store_of_thread(getattr(threads, name)))
    for name in ("put", "get"):
        setattr(runs, name, _on_store_of_thread(getattr(runs, name)))
    threads.Stream.subscribe = _on_store_of_thread(threads.Stream.subscribe)
    runs.delete = _on_whole_store(runs.delete)  # called by those above


THREAD_INDEX = Patch(
    name="a thread's runs are found by an index",
    module="langgraph_runtime_inmem.ops",
    replaces={
        "Threads._get_with_filters": Shape(
            "conn thread_id filters",
            """
            for thread in conn.store["threads"]
            if thread["thread_id"] == thread_id
            """,
        ),
        "Threads.put": Shape(
            "conn thread_id metadata if_exists ttl ctx",
            '(t for t in conn.store["threads"] if t["thread_id"] == thread_id), None',
        ),
        "Threads.set_status": Shape(
            "conn thread_id checkpoint exception",
            """
            run["status"] in ("pending", "running") and run["thread_id"] == tid
            for run in conn_.store["runs"]
            """,
        ),
        "Threads.set_joint_status": Shape(
            "conn thread_id run_id run_status graph_id checkpoint exception",
            """
            for r in conn.store["runs"]
            if r["run_id"] == run_id and r["thread_id"] == thread_id
            """,
        ),
        "Threads.Stream.subscribe": Shape(
            "conn thread_id seen_runs",
            """
            for run in conn.store["runs"]:
                if run["thread_id"] == thread_id:
            """,
        ),
        "Runs.put": Shape(
            "conn assistant_id kwargs thread_id user_id run_id status metadata"
            " prevent_insert_if_inflight multitask_strategy if_not_exists after_seconds ctx"
            " langsmith_session_name",
            """
            for r in conn.store["runs"]
            if r["thread_id"] == thread_id and r["status"] in ("pending", "running")
            """,
        ),
        "Runs.get": Shape(
            "conn run_id thread_id ctx",
            """
            for run in conn.store["runs"]:
                if run["run_id"] == run_id and run["thread_id"] == thread_id:
            """,
        ),
        "Runs.delete": Shape("conn run_id thread_id ctx", 'del conn.store["runs"][i]'),
    },
    apply=_apply,
    loss="each run costs more, the more runs and threads the server remembers",
)
