"""Users of a scaled-out server: each has what is his, through whichever process he asks."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from client import AgentClient, NotFound, Unauthorized
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall
from tests.scale.cluster import Cluster, not_possible, running
from tests.users import KNOWS_TOKENS, bearer, token_of


@pytest.fixture(scope="module")
async def known(
    cluster: Cluster, model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    assert not not_possible()
    more = {"STEADY_MEMORY": "true", "STEADY_RUNS_PER_USER": "2"}
    env = server_env(model.url, **KNOWS_TOKENS, **more)
    async with running(tmp_path_factory.mktemp("users"), env, 1) as started:
        yield started


async def test_anothers_is_not_found(known: Cluster, model: ModelServer) -> None:
    """Reading, joining, stopping, going on, deleting: nothing of another's thread is there."""
    async with (
        AgentClient(known.url, token=token_of("ada")) as ada,
        AgentClient(known.url, token=token_of("bob")) as bob,
    ):
        run = ada.stream("Hello.")
        assert await run.text() == "You said: Hello."
        thread, its_run = str(run.thread_id), str(run.run_id)
        asked = {
            "get": bob.threads.get(thread),
            "state": bob.threads.messages(thread),
            "history": bob.threads.history(thread),
            "run": bob.runs.get(thread, its_run),
            "join": bob.runs.join(thread, its_run).text(),
            "cancel": bob.runs.cancel(thread, its_run),
            "go on": bob.stream("And I?", thread_id=thread).text(),
            "delete": bob.threads.delete(thread),
        }
        for name, attempt in asked.items():
            with pytest.raises(NotFound):
                assert await attempt is None, name
        assert await bob.threads.list() == []
        assert await bob.runs.list(thread) == []
        assert len(await ada.threads.messages(thread)) == 2


async def test_memories_are_a_users_own(known: Cluster, model: ModelServer) -> None:
    """What the tool wrote is read through the API by the same user, and by no other."""
    fact = ToolCall("remember", {"fact": "Ada likes tea."})
    model.on("I like tea.", Reply(tool_calls=(fact,)), Reply("Noted."))
    async with (
        AgentClient(known.url, token=token_of("ada@example.com")) as ada,
        AgentClient(known.url, token=token_of("ada@example%2Ecom")) as bob,
    ):
        await ada.stream("I like tea.").text()
        assert [memory.text for memory in await ada.memories.list()] == ["Ada likes tea."]
        assert await bob.memories.list() == []


async def test_a_burst_of_users_is_served(known: Cluster) -> None:
    """More ask at once than there are connections to the database: each run is made."""
    body = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "Hi."}]}}
    async with httpx.AsyncClient(base_url=known.url, timeout=60) as http:
        asked = [
            http.post("/runs", json=body, headers=bearer(token_of(f"user {n}"))) for n in range(60)
        ]
        answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * 60


async def test_limits_hold(known: Cluster, model: ModelServer) -> None:
    """A user with too many runs going on is told to wait."""
    async with AgentClient(known.url, token=token_of("eve")) as eve:
        model.on("Slowly.", Reply("a b c d e f", tokens_per_second=1.0))
        runs = [eve.stream("Slowly.") for _ in range(2)]
        for run in runs:
            async with run:
                async for _ in run:
                    break
        headers = bearer(token_of("eve"))
        async with httpx.AsyncClient(base_url=known.url, headers=headers) as http:
            body = {"assistant_id": "agent", "input": {"messages": []}}
            refused = await http.post(f"/threads/{runs[0].thread_id}/runs", json=body)
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        for run in runs:
            await run.stop()


async def test_nobody_gets_in_without_a_token(known: Cluster) -> None:
    """On the engine's routes as on ours; a token in the right place opens them."""
    async with AgentClient(known.url, token="") as nobody:
        with pytest.raises(Unauthorized):
            await nobody.threads.list()
    async with httpx.AsyncClient(base_url=known.url) as http:
        for path in ("/threads/search", "/agent/stream", "/store/items/search"):
            assert (await http.post(path, json={})).status_code == 401
        assert (await http.get("/assistants/x", headers=bearer(token_of("ada")))).status_code == 404
        page = await http.get("/")
        assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_the_routes_act_as_the_user(known: Cluster) -> None:
    """Our SSE route on this engine: a run of the user's, streamed to its `done`."""
    headers = bearer(token_of("ada"))
    async with httpx.AsyncClient(base_url=known.url, timeout=30) as http:
        answer = await http.post("/agent/stream", json={"message": "Hi."}, headers=headers)
    events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    assert "".join(e["content"] for e in events if e["type"] == "token") == "You said: Hi."
    assert events[-1]["type"] == "done"
    assert events[-1]["status"] == "success"
