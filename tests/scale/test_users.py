"""Users of a scaled-out server: each has what is his, through whichever process he asks."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from client import AgentClient, InvalidRequest, NotFound, Unauthorized
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall
from tests.scale.cluster import Cluster, running
from tests.users import KNOWS_TOKENS, bearer, token_of


@pytest.fixture(scope="module")
async def known(
    installed: None, model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    more = {"STEADY_MEMORY": "true", "STEADY_RUNS_PER_USER": "2", "STEADY_MAX_STEPS": "7"}
    env = server_env(model.url, **KNOWS_TOKENS, **more, STEADY_MESSAGES_PER_MINUTE="10")
    async with running(tmp_path_factory.mktemp("users"), env, 2) as started:
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
        model.on("Slowly.", Reply("a b c d e f " * 5, tokens_per_second=1.0))
        runs = [eve.stream("Slowly.") for _ in range(2)]
        for run in runs:
            async with run:
                async for _ in run:
                    break
        headers = bearer(token_of("eve"))
        async with httpx.AsyncClient(base_url=known.url, headers=headers, timeout=60) as http:
            body = {"assistant_id": "agent", "input": {"messages": []}}
            refused = await http.post(f"/threads/{runs[0].thread_id}/runs", json=body)
        assert refused.status_code == 429
        assert refused.headers["retry-after"]
        for run in runs:
            await run.stop()


def asked(words: str, **more: Any) -> dict[str, Any]:
    """What makes a run."""
    message = {"role": "user", "content": words}
    return {"assistant_id": "agent", "input": {"messages": [message]}, **more}


@pytest.fixture
async def each(
    known: Cluster, request: pytest.FixtureRequest
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Each process, as a user of the test's own sees it."""
    headers = bearer(token_of(request.node.name))
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=process.url, headers=headers, timeout=60)
            )
            for process in known.processes
        ]


async def test_runs_asked_for_at_once(each: list[httpx.AsyncClient], model: ModelServer) -> None:
    """Of many that several processes are asked for in the same instant, two are made."""
    model.on("At once.", Reply("a b c d e f " * 5, tokens_per_second=1.0))
    asking = [http.post("/runs", json=asked("At once.")) for http in each * 4]
    answers = await asyncio.gather(*asking)
    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [429] * 6
    refused = [answer for answer in answers if answer.status_code == 429]
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)


async def test_runs_by_other_ways(each: list[httpx.AsyncClient], model: ModelServer) -> None:
    """A cron's run and a command's are held to the limits like any other."""
    model.on("A way.", Reply("a b c d e f " * 5, tokens_per_second=1.0))
    http = each[0]
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    begin = {"id": 1, "method": "run.start", "params": asked("A way.")}
    made = await http.post(f"/threads/{thread}/commands", json=begin)
    assert made.json().get("type") == "success", made.text
    run = (await http.get(f"/threads/{thread}/runs")).json()[0]
    assert run["config"]["recursion_limit"] == 7
    cron = asked("A way.", schedule="0 0 1 1 *")
    assert (await http.post("/runs/crons", json=cron)).status_code == 200
    refused = await http.post("/runs/crons", json=cron)
    assert refused.status_code == 429
    assert refused.headers["retry-after"]
    again = await http.post(f"/threads/{thread}/commands", json=begin)
    assert "runs of yours" in again.text


async def test_messages_are_counted_over_all_processes(each: list[httpx.AsyncClient]) -> None:
    """Ten a minute are ten, whichever processes they were asked of."""
    for number in range(10):
        http = each[number % len(each)]
        assert (await http.post("/chat/stream", json={"question": "Hi."})).status_code == 200
    for http in each:
        refused = await http.post("/chat/stream", json={"question": "Hi."})
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 60


async def test_an_assistants_own_limit_of_steps(each: list[httpx.AsyncClient]) -> None:
    """The lower of it and the server's holds."""
    http = each[0]
    for own in (5, 10_000):
        body = {"graph_id": "agent", "name": str(own), "config": {"recursion_limit": own}}
        assistant = (await http.post("/assistants", json=body)).json()["assistant_id"]
        made = (await http.post("/runs", json=asked("Hi.", assistant_id=assistant))).json()
        assert made["config"]["recursion_limit"] == min(own, 7)


async def test_nobody_gets_in_without_a_token(known: Cluster) -> None:
    """On the engine's routes as on ours; a token in the right place opens them."""
    async with AgentClient(known.url, token="") as nobody:
        with pytest.raises(Unauthorized):
            await nobody.threads.list()
    async with httpx.AsyncClient(base_url=known.url, timeout=60) as http:
        for path in ("/threads/search", "/agent/stream", "/store/items/search"):
            assert (await http.post(path, json={})).status_code == 401
        assert (await http.get("/assistants/x", headers=bearer(token_of("ada")))).status_code == 404
        page = await http.get("/")
        assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_the_routes_act_as_the_user(known: Cluster) -> None:
    """Our SSE route on this engine: a run of the user's, streamed to its `done`."""
    headers = bearer(token_of("ada"))
    async with httpx.AsyncClient(base_url=known.url, timeout=60) as http:
        answer = await http.post("/agent/stream", json={"message": "Hi."}, headers=headers)
    events = [json.loads(line[5:]) for line in answer.text.splitlines() if line.startswith("data:")]
    assert "".join(e["content"] for e in events if e["type"] == "token") == "You said: Hi."
    assert events[-1]["type"] == "done"
    assert events[-1]["status"] == "success"


async def test_a_context_with_an_unknown_field_is_refused(known: Cluster) -> None:
    """As on one process: the field is named, whichever process is asked, and no run is made."""
    async with AgentClient(known.url, token=token_of("cyd")) as cyd:
        for assistant in ("agent", "chat"):
            run = cyd.stream("Hello?", assistant_id=assistant, context={"temprature": 0.5})
            with pytest.raises(InvalidRequest, match="temprature"):
                await run.text()
        known_field = cyd.stream("Hello?", context={"temperature": 0.5})
        assert await known_field.text() == "You said: Hello?"


async def test_an_escape_of_nul_stays_what_it_is(known: Cluster, model: ModelServer) -> None:
    """The six characters come through the broker and the database as they were written."""
    text = r"Write \u0000 or \\u0000."
    model.on(text, Reply(tuple(text)))
    async with AgentClient(known.url, token=token_of("dan")) as dan:
        run = dan.stream(text)
        assert await run.text() == text
        assert [m["content"] for m in await dan.threads.messages(str(run.thread_id))] == [text] * 2
