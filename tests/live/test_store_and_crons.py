"""What a user stores on the server: it survives a crash at once, and has limits."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer
from tests.users import KNOWS_TOKENS, NO_LIMITS, bearer, token_of

FEW = {
    "STEADY_STORE_ITEMS_PER_USER": "5",
    "STEADY_STORE_BYTES_PER_USER": "5000",
    "STEADY_CRONS_PER_USER": "3",
}


def server_in(folder: Path, model: ModelServer, **more: str) -> LocalServer:
    env = server_env(model.url, **more)
    return LocalServer(find_config(Path(__file__).parent), env=env, folder=folder)


@pytest.fixture(scope="module")
def limited(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("limited")
    with server_in(folder, model, **KNOWS_TOKENS, **NO_LIMITS, **FEW) as running:
        yield running


def as_user(server: LocalServer, user: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, headers=bearer(token_of(user)), timeout=60)


async def put(http: httpx.AsyncClient, key: str, value: object) -> int:
    item = {"namespace": ["notes"], "key": key, "value": {"is": value}}
    return (await http.put("/store/items", json=item)).status_code


async def test_a_memory_survives_a_crash_that_comes_at_once(
    model: ModelServer, tmp_path: Path
) -> None:
    """The first item of a new server is there after `kill -9`, and so is its deletion."""
    server = server_in(tmp_path, model).start()
    async with AgentClient(server.url) as agent:
        for key in ("a", "b"):
            await agent.sdk.store.put_item(["memories"], key, {"text": key})
        await agent.sdk.store.delete_item(["memories"], "a")
    server.kill()
    with server_in(tmp_path, model) as again:
        async with AgentClient(again.url) as agent:
            found = await agent.sdk.store.search_items([], limit=10)
    assert [item["key"] for item in found["items"]] == ["b"]


async def test_a_users_items_have_a_limit(limited: LocalServer) -> None:
    """Of eight items put together five are stored; the others get 422 and words; eve is free."""
    async with as_user(limited, "ada") as ada, as_user(limited, "eve") as eve:
        statuses = await asyncio.gather(*(put(ada, str(n), n) for n in range(8)))
        assert sorted(statuses) == [204] * 5 + [422] * 3
        item = {"namespace": ["notes"], "key": "new", "value": {}}
        refused = await ada.put("/store/items", json=item)
        assert "at most 5 items" in refused.text
        assert await put(eve, "a", 1) == 204


async def test_a_users_bytes_have_a_limit(limited: LocalServer) -> None:
    """An item that would fill more than is allowed gets 422, and one that fits 204."""
    async with as_user(limited, "bob") as bob:
        assert await put(bob, "a", "x" * 4000) == 204
        assert await put(bob, "b", "x" * 4000) == 422
        assert await put(bob, "a", "x" * 4500) == 204


async def test_a_users_crons_have_a_limit(limited: LocalServer) -> None:
    """Of eight crons made together three are stored; deleting one makes room."""
    body = {"assistant_id": "agent", "schedule": "0 0 1 1 *", "input": {}}
    async with as_user(limited, "cy") as cy, as_user(limited, "eve") as eve:
        made = await asyncio.gather(*(cy.post("/runs/crons", json=body) for _ in range(8)))
        assert sorted(each.status_code for each in made) == [200] * 3 + [422] * 5
        first = next(each.json() for each in made if each.status_code == 200)
        await cy.delete(f"/runs/crons/{first['cron_id']}")
        assert (await cy.post("/runs/crons", json=body)).status_code == 200
        assert (await eve.post("/runs/crons", json=body)).status_code == 200
