"""The server's store, in the file of the threads and in the database."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from langgraph.store.memory import InMemoryStore

from agent.settings import settings
from agent.storage.quota import StoreFull
from agent.storage.store import carry_over_items, store
from tests.scale.storage import Postgres, missing


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    if reason := missing():
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(autouse=True, params=["file", "database"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("STEADY_THREADS_FILE", str(tmp_path / "new folder" / "threads.sqlite"))
    if request.param == "database":
        uri = request.getfixturevalue("postgres").uri
        monkeypatch.setenv("STEADY_POSTGRES_URI", uri)
        with psycopg.connect(uri) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that knows users, and gives each three items of a thousand bytes in all."""
    monkeypatch.setenv("STEADY_JWT_SECRET", "x" * 32)
    monkeypatch.setenv("STEADY_STORE_ITEMS_PER_USER", "3")
    monkeypatch.setenv("STEADY_STORE_BYTES_PER_USER", "1000")
    settings.cache_clear()


async def test_what_was_put_is_there_for_the_next_process() -> None:
    """An item is written when `aput` returns: another connection reads it."""
    async with store() as one:
        await one.aput(("ada", "memories"), "a", {"text": "likes tea \U0001f375"})
        async with store() as other:
            item = await other.aget(("ada", "memories"), "a")
            assert item is not None
            assert item.value == {"text": "likes tea \U0001f375"}


@pytest.mark.parametrize("other", ["ann", "anna", "ann%25", "an_", "ANN", "an?", "a*", "ann-"])
async def test_users_with_similar_names_share_nothing(other: str) -> None:
    """A search under one user's name finds nothing of another's, whatever the names look like."""
    async with store() as opened:
        await opened.aput(("ann", "memories"), "a", {"text": "of ann"})
        await opened.aput((f"{other}x", "memories"), "b", {"text": "of the other"})
        found = await opened.asearch(("ann",), limit=100)
        assert [item.key for item in found] == ["a"]
        assert [item.key for item in await opened.asearch((f"{other}x",))] == ["b"]
        namespaces = await opened.alist_namespaces(prefix=("ann",))
        assert namespaces == [("ann", "memories")]


async def test_a_user_has_so_many_items(limited: None) -> None:
    """One more than allowed is refused, also of many that arrive together; others go on."""
    async with store() as opened:
        results = await asyncio.gather(
            *(opened.aput(("ada", str(n)), "a", {"n": n}) for n in range(10)),
            return_exceptions=True,
        )
        assert [type(result) for result in results].count(StoreFull) == 7
        assert len(await opened.asearch(("ada",), limit=100)) == 3
        await opened.aput(("eve", "memories"), "a", {"n": 1})
        kept = (await opened.asearch(("ada",)))[0]
        await opened.aput(kept.namespace, kept.key, {"n": "changed"})
        await opened.adelete(kept.namespace, kept.key)
        await opened.aput(("ada", "new"), "a", {"n": 1})


async def test_a_user_has_so_many_bytes(limited: None) -> None:
    """What would be more bytes than allowed is refused, and what was there stays."""
    async with store() as opened:
        await opened.aput(("ada",), "a", {"text": "x" * 600})
        with pytest.raises(StoreFull, match="1000 bytes"):
            await opened.aput(("ada", "other"), "b", {"text": "é" * 300})
        await opened.aput(("adam",), "b", {"text": "x" * 900})
        await opened.aput(("ada",), "a", {"text": "x" * 900})
        item = await opened.aget(("ada",), "a")
        assert item is not None
        assert item.value == {"text": "x" * 900}


async def test_a_server_without_users_has_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person at this machine may store what fits on the disk."""
    monkeypatch.setenv("STEADY_STORE_ITEMS_PER_USER", "1")
    settings.cache_clear()
    async with store() as opened:
        for n in range(3):
            await opened.aput(("local",), str(n), {"n": n})
        assert len(await opened.asearch(("local",))) == 3


async def test_items_of_the_old_store_are_carried_over_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limited: None
) -> None:
    """All of them, in their order, beyond any quota; they are not brought back when deleted."""
    old, file = InMemoryStore(), tmp_path / "store.pckl"
    file.write_bytes(b"what the server wrote")
    for n in range(1200):
        old.put(("ada", "memories"), str(n), {"n": n})
    module = SimpleNamespace(STORE=old, _STORE_FILE=str(file))
    monkeypatch.setitem(sys.modules, "langgraph_runtime_inmem.store", module)
    assert await carry_over_items() == 1200
    async with store() as opened:
        assert len(await opened.asearch(("ada",), limit=2000)) == 1200
        await opened.adelete(("ada", "memories"), "7")
        assert await carry_over_items() == 0
        assert await opened.aget(("ada", "memories"), "7") is None
    assert not file.exists()
    assert (tmp_path / "store.pckl.carried-over").exists()
