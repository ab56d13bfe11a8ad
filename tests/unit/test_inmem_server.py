"""What is used of the in-memory server by name: another shape is left alone, and said."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.store.memory import InMemoryStore

from agent.http import lifespan
from agent.settings import settings
from agent.storage import inmem_server
from agent.storage.inmem_server import OtherServer
from agent.storage.restore import forget_threads
from agent.storage.store import carry_over_items

NOW = datetime.now(UTC)
ROWS: dict[str, list[dict[str, Any]]] = {
    "threads": [{"thread_id": "a", "created_at": NOW}],
    "runs": [{"thread_id": "a"}],
    "crons": [{"cron_id": "c"}],
}
WRONG: list[tuple[str, str, Any, Callable[[], Awaitable[int]]]] = [
    *(("database", "GLOBAL_STORE", value, forget_threads) for value in (
        None, [], {}, {**ROWS, "threads": {}}, {**ROWS, "threads": [{"id": "a"}]},
        {**ROWS, "runs": ["a"]}, {**ROWS, "crons": None},
    )),
    *(("ops", "RUN_LOCK", value, forget_threads) for value in (None, "lock")),
    *(("store", "STORE", value, carry_over_items) for value in (None, {})),
    *(("store", "_STORE_FILE", value, carry_over_items) for value in (None, 3)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, SimpleNamespace]:
    """Modules as the in-memory server has them, with a list and an item in the store."""
    monkeypatch.setenv("STEADY_THREADS_FILE", str(tmp_path / "threads.sqlite"))
    settings.cache_clear()
    own = InMemoryStore()
    own.put(("ada",), "a", {"n": 1})
    modules = {
        "database": SimpleNamespace(GLOBAL_STORE=ROWS),
        "ops": SimpleNamespace(RUN_LOCK=asyncio.Lock()),
        "store": SimpleNamespace(STORE=own, _STORE_FILE=str(tmp_path / "store.pckl")),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"langgraph_runtime_inmem.{name}", module)
    return modules


def test_what_is_used_fits_the_installed_server(tmp_path: Path) -> None:
    """When this fails, upstream has changed: look at what is read of it."""
    code = (
        "import langgraph_runtime_inmem.ops, langgraph_runtime_inmem.store\n"
        "from agent.storage import inmem_server\n"
        "inmem_server.lists(), inmem_server.run_lock(), inmem_server.own_store()\n"
    )
    env = {
        "DATABASE_URI": ":memory:", "REDIS_URI": "fake", "MIGRATIONS_PATH": "__inmem",
        "LANGGRAPH_RUNTIME_EDITION": "inmem", "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, timeout=110)


def test_the_right_shape_is_used() -> None:
    """The fixture's server is one that is read."""
    assert inmem_server.lists() is ROWS
    assert inmem_server.run_lock()
    assert inmem_server.own_store()


@pytest.mark.parametrize(("module", "name", "value", "mend"), WRONG, ids=range(len(WRONG)))
async def test_another_shape_is_left_alone(
    server: dict[str, SimpleNamespace], module: str, name: str, value: Any, mend: Any
) -> None:
    """What has another kind or other rows is neither read nor changed; the error names it."""
    setattr(server[module], name, value)
    before, item = repr(value), server["store"].STORE
    with pytest.raises(OtherServer, match=r"langgraph_runtime_inmem|rows"):
        await mend()
    assert repr(value) == before
    assert not isinstance(item, InMemoryStore) or item.get(("ada",), "a") is not None


async def test_one_that_is_not_mended_stops_no_other(
    server: dict[str, SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says what is lost by the first; the store's items are carried over all the same."""
    messages: list[str] = []

    async def log_error(message: str) -> None:
        messages.append(message)

    async def restore_nothing() -> int:
        return 0

    monkeypatch.setattr(lifespan, "log", SimpleNamespace(aerror=log_error))
    monkeypatch.setattr(lifespan, "restore_threads", restore_nothing)
    server["ops"].RUN_LOCK = None
    await lifespan._mend_lists()
    assert [("RUN_LOCK" in each, "may be listed again" in each) for each in messages] == [
        (True, True)
    ]
    assert server["store"].STORE.get(("ada",), "a") is None
