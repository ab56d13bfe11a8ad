"""LangGraph's Python SDK with its sync client and an API key, RemoteGraph, and protocol sockets."""

import json
from uuid import uuid4

import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import AuthenticationError
from websockets.asyncio.client import connect

from client.cli.local_server import LocalServer
from tests.users import bearer, socket_url, token_of

QUESTION = {"messages": [{"role": "user", "content": "stream 20 tokens"}]}
ANSWER = " ".join(f"word{number}" for number in range(20))


def test_sync_client(server: LocalServer) -> None:
    """It streams, waits, joins and reads state."""
    client = get_sync_client(url=server.url, api_key=None)
    thread_id = client.threads.create()["thread_id"]
    parts = list(
        client.runs.stream(
            thread_id, "agent", input=QUESTION, stream_mode=["messages-tuple", "values"]
        )
    )
    pieces = [part.data[0] for part in parts if part.event == "messages"]
    text = "".join(p["content"] for p in pieces if p["type"] == "AIMessageChunk")
    assert text == ANSWER
    state = client.threads.get_state(thread_id)
    assert state["values"]["messages"][-1]["content"] == ANSWER
    values = client.runs.wait(thread_id, "agent", input=QUESTION)
    assert values["messages"][-1]["content"] == ANSWER


def test_remote_graph(server: LocalServer) -> None:
    """It is invoked and streamed like a graph of one's own, with its state."""
    client = get_sync_client(url=server.url, api_key=None)
    graph = RemoteGraph("agent", url=server.url, sync_client=client)
    config = {"configurable": {"thread_id": client.threads.create()["thread_id"]}}
    assert graph.invoke(QUESTION, config)["messages"][-1]["content"] == ANSWER
    parts = list(graph.stream(QUESTION, config, stream_mode=["updates", "values"]))
    assert ANSWER in str(parts)
    assert len(graph.get_state(config).values["messages"]) == 4


async def test_api_key(guarded: LocalServer) -> None:
    """What an SDK's `api_key` sends lets in where there is no Authorization, which goes first."""
    ada, eve = token_of("ada"), token_of("eve")
    async with get_client(url=guarded.url, api_key=ada) as client:
        thread = await client.threads.create()
        assert thread["metadata"]["owner"] == "ada"
        result = await client.runs.wait(thread["thread_id"], "agent", input=QUESTION)
        assert result["messages"][-1]["content"] == ANSWER
    async with get_client(url=guarded.url, api_key=ada, headers=bearer(eve)) as client:
        assert (await client.threads.create())["metadata"]["owner"] == "eve"
    for key, headers in ((f"{ada}x", {}), (ada, bearer("no token"))):
        async with get_client(url=guarded.url, api_key=key, headers=headers) as client:
            with pytest.raises(AuthenticationError):
                await client.threads.create()


async def test_store(server: LocalServer, guarded: LocalServer) -> None:
    """Items come back under the namespace that they were put under, and are found under it."""
    for url, key in ((server.url, None), (guarded.url, token_of("a.da"))):
        name = uuid4().hex
        async with get_client(url=url, api_key=key) as client:
            store = client.store
            await store.put_item((name, "b"), "one", {"text": "first"})
            await store.put_item((name, "c", "d"), "two", {"text": "second"})
            item = await store.get_item((name, "b"), "one")
            assert item["namespace"] == [name, "b"]
            found = (await store.search_items((name,)))["items"]
            assert sorted(each["namespace"] for each in found) == [[name, "b"], [name, "c", "d"]]
            for each in found:
                again = await store.get_item(each["namespace"], each["key"])
                assert again["value"] == each["value"]
            listed = (await store.list_namespaces(prefix=[name]))["namespaces"]
            assert sorted(listed) == [[name, "b"], [name, "c", "d"]]
            shallow = (await store.list_namespaces(prefix=[name], max_depth=1))["namespaces"]
            assert shallow == [[name]]
            await store.delete_item((name, "b"), "one")
            assert await store.get_item((name, "b"), "one") is None


async def test_socket_on_a_new_thread(server: LocalServer, guarded: LocalServer) -> None:
    """A protocol WebSocket may be the first to name a thread, which is its user's."""
    for one, headers in ((server, {}), (guarded, bearer(token_of("ada")))):
        thread_id = str(uuid4())
        url = socket_url(one, f"/threads/{thread_id}/stream/events")
        async with connect(url, additional_headers=headers, open_timeout=60) as socket:
            channels = ["messages", "lifecycle"]
            for number, (method, params) in enumerate(
                (
                    ("subscription.subscribe", {"channels": channels}),
                    ("run.start", {"assistant_id": "agent", "input": QUESTION}),
                )
            ):
                command = {"id": number, "method": method, "params": params}
                await socket.send(json.dumps(command))
            text = ""
            async for frame in socket:
                event = json.loads(frame)
                data = (event.get("params") or {}).get("data") or {}
                if event.get("method") == "messages" and data.get("event") == "content-block-delta":
                    text += data["delta"]["text"]
                if event.get("method") == "lifecycle" and data.get("event") == "completed":
                    break
        assert text == ANSWER
    async with get_client(url=guarded.url, api_key=token_of("eve")) as client:
        assert thread_id not in [each["thread_id"] for each in await client.threads.search()]


async def test_state_after_cancel(server: LocalServer) -> None:
    """State and history that are read at once after a cancel have the partial answer."""
    async with get_client(url=server.url, api_key=None) as client:
        thread_id = (await client.threads.create())["thread_id"]
        for turn in range(1, 6):
            question = {"role": "user", "content": "stream 900 tokens at 30 per second"}
            run = await client.runs.create(
                thread_id,
                "agent",
                input={"messages": [question]},
                stream_mode="messages-tuple",
                stream_resumable=True,
            )
            async for part in client.runs.join_stream(thread_id, run["run_id"]):
                if part.event == "messages" and part.data[0]["content"]:
                    break
            await client.runs.cancel(thread_id, run["run_id"])
            if turn % 2:
                values = (await client.threads.get_state(thread_id))["values"]
            else:
                values = (await client.threads.get_history(thread_id, limit=1))[0]["values"]
            assert [m["type"] for m in values["messages"]] == ["human", "ai"] * turn
