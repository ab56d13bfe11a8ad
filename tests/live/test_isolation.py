"""What one user cannot make of another's, whatever is asked, and however."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from client import AgentClient, NotFound
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call
from tests.sse_reader import ask
from tests.users import bearer, socket_url, token_of

JSON = dict[str, Any]
MARK = "what only ada may read"


@pytest.fixture
async def ada(guarded: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(guarded.url, token=token_of("ada")) as client:
        yield client


@pytest.fixture
async def eve(guarded: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(guarded.url, token=token_of("eve")) as client:
        yield client


@pytest.fixture
async def of_ada(ada: AgentClient) -> str:
    """A thread of Ada's."""
    async with ada.stream(MARK) as run:
        await run.text()
    return str(run.thread_id)


SPOOFS: dict[str, Any] = {
    "metadata": lambda thread: {"metadata": {"owner": "ada"}},
    "config's metadata": lambda thread: {"config": {"metadata": {"owner": "ada"}}},
    "another thread": lambda thread: {"config": {"configurable": {"thread_id": thread}}},
    "another user": lambda thread: {"config": {"configurable": {"langgraph_auth_user_id": "ada"}}},
}


@pytest.mark.parametrize("spoof", SPOOFS)
async def test_a_run_that_says_it_is_anothers(
    ada: AgentClient, eve: AgentClient, of_ada: str, model: ModelServer, spoof: str
) -> None:
    """It runs on its maker's thread, as its maker, and reads and changes nothing of the other's."""
    before = await ada.threads.messages(of_ada)
    question = f"Remember a fact, {uuid.uuid4()}"
    fact = f"Eve was here {uuid.uuid4()}."
    model.on(question, Reply(tool_calls=[Call("remember", {"fact": fact})]), Reply("Done."))
    own = await eve.threads.create()
    body = {"input": {"messages": [{"role": "user", "content": question}]}, **SPOOFS[spoof](of_ada)}
    said = await eve.sdk.runs.wait(own, "agent", **body)
    assert MARK not in json.dumps(said)
    assert await ada.threads.messages(of_ada) == before
    assert len(await eve.threads.messages(own)) == 4
    with pytest.raises(NotFound):
        await ada.threads.get(own)
    assert fact in [memory.text for memory in await eve.memories.list()]
    assert fact not in [memory.text for memory in await ada.memories.list()]


@pytest.mark.parametrize("way", ["made", "changed"])
async def test_a_cron_that_says_it_is_anothers(
    ada: AgentClient, eve: AgentClient, model: ModelServer, way: str
) -> None:
    """It fires as its maker, whatever user its config names."""
    question, fact = f"Remember each second, {uuid.uuid4()}", f"Eve was here {uuid.uuid4()}."
    model.on(question, Reply(tool_calls=[Call("remember", {"fact": fact})]), Reply("Done."))
    forged = {"langgraph_auth_user": {"identity": "ada"}, "langgraph_auth_user_id": "ada"}
    asked: dict[str, Any] = {"input": {"messages": [{"role": "user", "content": question}]}}
    if way == "made":
        asked["config"] = {"configurable": forged}
    cron = str((await eve.sdk.crons.create("agent", schedule="* * * * * *", **asked))["cron_id"])  # type: ignore[typeddict-item]
    if way == "changed":
        await eve.sdk.crons.update(cron, config={"configurable": forged})
    of_whom: list[str] = []
    async with asyncio.timeout(60):
        while not of_whom:
            for who in (ada, eve):
                if fact in [memory.text for memory in await who.memories.list()]:
                    of_whom.append("ada" if who is ada else "eve")
            await asyncio.sleep(0.1)
    await eve.sdk.crons.delete(cron)
    assert of_whom == ["eve"]


async def test_what_is_asked_of_many(
    ada: AgentClient, eve: AgentClient, of_ada: str, model: ModelServer
) -> None:
    """Searches, counts and changes of many things at once are of one's own, however they ask."""
    model.on("Slowly.", Reply(("a ",) * 400, tokens_per_second=4.0))
    private = await ada.sdk.assistants.create("agent", name=MARK)
    mine = str(private["assistant_id"])
    going = await ada.sdk.runs.create(of_ada, mine, input={"messages": [("user", "Slowly.")]})
    await ada.sdk.crons.create_for_thread(of_ada, "agent", schedule="0 0 1 1 *", input={})
    await ada.sdk.store.put_item(["memories", "deep"], "one", {"text": MARK})
    own = await eve.threads.create()
    found: list[Any] = [
        await eve.sdk.threads.search(ids=[of_ada]),
        await eve.sdk.threads.search(metadata={"owner": "ada"}),
        await eve.sdk.threads.search(status="busy"),
        await eve.sdk.crons.search(thread_id=of_ada),
        [it for it in await eve.sdk.crons.search() if it["thread_id"] == of_ada],
        await eve.sdk.assistants.search(name=MARK),
        await eve.sdk.assistants.search(metadata={"owner": "ada"}),
    ]
    assert found == [[]] * len(found)
    assert await eve.sdk.threads.count(metadata={"owner": "ada"}) == 0
    assert await eve.sdk.crons.count(thread_id=of_ada) == 0
    for namespace in (["*"], ["*", "memories"], ["ada"], ["..", "ada"], ["ada", "memories"]):
        with suppress(UnprocessableEntityError):  # some are no namespace at all
            assert MARK not in json.dumps(await eve.sdk.store.search_items(namespace))
            listed = await eve.sdk.store.list_namespaces(prefix=namespace)
            assert not [at for at in listed["namespaces"] if {"ada", "deep"} & {*at}]
    deep = await eve.sdk.store.list_namespaces(suffix=["deep"])
    assert deep["namespaces"] == []
    assert MARK in json.dumps(await ada.sdk.store.search_items(["memories"]))
    for attempt in (
        eve.sdk.runs.cancel_many(status="all"),
        eve.sdk.runs.cancel_many(thread_id=of_ada, run_ids=[going["run_id"]]),
        eve.sdk.runs.cancel_many(thread_id=own, run_ids=[going["run_id"]]),
        eve.sdk.threads.prune([of_ada]),
        eve.sdk.threads.prune([own, of_ada]),
        eve.sdk.assistants.delete(mine, delete_threads=True),
        eve.sdk.crons.create(mine, schedule="0 0 1 1 *", input={}),
        eve.sdk.runs.create(own, mine, input={}),
    ):
        with pytest.raises(NotFoundError):
            await attempt
    assert (await eve.threads.get(own))["thread_id"] == own
    assert (await ada.runs.get(of_ada, going["run_id"]))["status"] == "running"
    assert await ada.sdk.crons.count(thread_id=of_ada) == 1
    await ada.runs.cancel(of_ada, going["run_id"])


async def test_a_place_in_anothers_thread(eve: AgentClient, ada: AgentClient, of_ada: str) -> None:
    """A checkpoint that names another's thread is looked for in one's own, and is not there."""
    place = (await ada.sdk.threads.get_state(of_ada))["checkpoint"]
    own = str((await eve.sdk.threads.create(graph_id="agent"))["thread_id"])
    told = [
        await eve.sdk.threads.get_state(own, checkpoint=place),
        await eve.sdk.threads.get_history(own, checkpoint=place),
    ]
    assert MARK not in json.dumps(told)
    assert str(place["checkpoint_id"]) in str(await ada.sdk.threads.get_history(of_ada))


async def test_what_is_made_for_another_stays_ones_own(ada: AgentClient, eve: AgentClient) -> None:
    """Metadata that names another owner, or the system, puts nothing before the other's eyes."""
    for metadata in ({"owner": "ada"}, {"created_by": "system"}):
        made = await eve.sdk.assistants.create("agent", metadata=metadata, name="Trojan")
        await eve.sdk.assistants.update(made["assistant_id"], metadata=metadata)
    thread_id = str((await eve.sdk.threads.create(metadata={"owner": "ada"}))["thread_id"])
    await eve.sdk.threads.update(thread_id, metadata={"owner": "ada"})
    assert "Trojan" not in [found["name"] for found in await ada.assistants()]
    with pytest.raises(NotFound):
        await ada.threads.get(thread_id)
    assert (await eve.threads.get(thread_id))["metadata"]["owner"] == "eve"


async def test_an_id_that_is_taken(eve: AgentClient, of_ada: str) -> None:
    """A thread cannot be had by creating it again."""
    async with httpx.AsyncClient(base_url=eve.url, headers=bearer(token_of("eve"))) as http:
        for if_exists in ("do_nothing", "raise"):
            body = {"thread_id": of_ada, "if_exists": if_exists}
            answer = await http.post("/threads", json=body)
            assert answer.status_code == 409
            assert MARK not in answer.text


async def test_nothing_is_heard_of_anothers_thread(
    guarded: LocalServer, ada: AgentClient, of_ada: str
) -> None:
    """Who listens to another's thread, over SSE or a WebSocket, hears nothing of its next run."""
    heard: list[str] = []
    token, path = token_of("eve"), f"/threads/{of_ada}/stream/events"
    channels = ["values", "updates", "messages", "custom", "lifecycle", "tools"]
    listening = [asyncio.Event(), asyncio.Event()]

    async def over_sse(http: httpx.AsyncClient) -> None:
        options: JSON = {"json": {"channels": channels}, "headers": bearer(token), "timeout": 30}
        async with http.stream("POST", guarded.url + path, **options) as answer:
            listening[0].set()
            heard.extend([text async for text in answer.aiter_text()])

    async def over_socket() -> None:
        url, headers = socket_url(guarded, path), bearer(token)
        async with connect(url, additional_headers=headers, open_timeout=60) as socket:
            params = {"channels": channels}
            frame = {"id": 1, "method": "subscription.subscribe", "params": params}
            with suppress(ConnectionClosedError):  # who is refused hears nothing, too
                await socket.send(json.dumps(frame))
                await socket.send(json.dumps({"id": 2, "method": "agent.getTree", "params": {}}))
                listening[1].set()
                heard.extend([str(text) async for text in socket])
        listening[1].set()

    async with httpx.AsyncClient() as http:
        tasks = [asyncio.create_task(over_sse(http)), asyncio.create_task(over_socket())]
        await asyncio.gather(*map(listens, tasks, listening))
        async with ada.stream(MARK, thread_id=of_ada) as run:
            assert await run.text()
        await asyncio.wait(tasks, timeout=2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert MARK not in "".join(heard)
    assert str(run.run_id) not in "".join(heard)


async def listens(listener: asyncio.Task[None], is_listening: asyncio.Event) -> None:
    """Returns when the task has set the event; raises what the task failed with before."""
    waiter = asyncio.create_task(is_listening.wait())
    await asyncio.wait([waiter, listener], return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    if not is_listening.is_set():
        listener.result()
        raise AssertionError("The listener ended before it listened.")


@pytest.mark.parametrize("scheme", ["langsmith", "langsmith-agent", "studio"])
async def test_a_header_is_no_token(guarded: LocalServer, of_ada: str, scheme: str) -> None:
    """Neither Studio's header nor a key of LangSmith's opens anything."""
    headers = {"x-auth-scheme": scheme, "x-api-key": "lsv2_key", "x-service-key": "key"}
    async with httpx.AsyncClient(base_url=guarded.url, headers=headers, timeout=60) as http:
        assert (await http.get(f"/threads/{of_ada}/state")).status_code == 401


async def test_two_users_may_choose_the_same_key(guarded: LocalServer) -> None:
    """An Idempotency-Key is its user's own: each gets an answer, on a thread of his own."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    threads = set()
    for user in ("ada", "eve", "ada"):
        headers = {**key, **bearer(token_of(user))}
        events = await ask(guarded.url, "/agent/stream", {"message": "Hello."}, headers=headers)
        threads.add(events[0]["thread_id"])
    assert len(threads) == 2


async def test_a_browser_brings_its_token_as_a_subprotocol(
    guarded: LocalServer, of_ada: str
) -> None:
    """It cannot set the header; the answer names the protocol that is spoken, not the token."""
    url = socket_url(guarded, f"/ws/chat?thread_id={of_ada}")
    protocols: Any = ["steady.v1", f"bearer.{token_of('ada')}"]
    async with connect(url, subprotocols=protocols, open_timeout=60) as socket:
        assert socket.subprotocol == "steady.v1"
        await socket.send(json.dumps({"type": "message", "message": "Hello."}))
        async with aclosing(aiter(socket)) as frames:  # type: ignore[type-var]
            async for frame in frames:
                if json.loads(frame)["type"] == "done":
                    assert json.loads(frame)["status"] == "success"
                    break


async def test_no_token_is_written_down(guarded: LocalServer, ada: AgentClient) -> None:
    """Neither of a good token nor of a bad one is anything in the server's log."""
    spoilt = token_of("ada")[:-3] + "xyz"
    with suppress(Exception):
        async with AgentClient(guarded.url, token=spoilt) as client:
            await client.assistants()
    async with ada.stream("Hello.") as run:
        await run.text()
    log = guarded.log.read_text()
    assert "/threads" in log
    assert token_of("ada").partition(".")[0] not in log  # how every token begins
