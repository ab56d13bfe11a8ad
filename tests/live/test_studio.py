"""What LangGraph Studio asks a local server for, asked the same way."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from client import AgentClient, Event
from client.local import LocalServer
from tests.model_server import ModelServer, Reply, ToolCall

STUDIO = "https://smith.langchain.com"


@pytest.fixture
async def http(server: LocalServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


@pytest.fixture
async def sdk(server: LocalServer) -> AsyncIterator[LangGraphClient]:
    async with get_client(url=server.url) as client:
        yield client


def asked(question: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}]}


async def assistant_id(sdk: LangGraphClient, name: str = "agent") -> str:
    return (await sdk.assistants.search(graph_id=name))[0]["assistant_id"]


async def test_the_server_tells_its_version(http: httpx.AsyncClient) -> None:
    """`/info` names the version, which Studio reads first."""
    assert (await http.get("/info")).json()["version"]


async def test_both_graphs_are_described(sdk: LangGraphClient) -> None:
    """Each graph is an assistant with a description."""
    found = {a["graph_id"]: a.get("description") for a in await sdk.assistants.search()}
    assert set(found) == {"agent", "chat"}
    assert all(found.values())


async def test_the_context_is_a_form(sdk: LangGraphClient) -> None:
    """The schema of the context gives each choice of a run, with words that explain it."""
    schemas = await sdk.assistants.get_schemas(await assistant_id(sdk))
    fields = schemas["context_schema"]["properties"]
    assert set(fields) == {"model", "temperature", "system_prompt"}
    assert all(field["description"] for field in fields.values())


async def test_the_graph_can_be_drawn(http: httpx.AsyncClient, sdk: LangGraphClient) -> None:
    """`/graph?xray=true` gives nodes and edges."""
    answer = await http.get(f"/assistants/{await assistant_id(sdk)}/graph", params={"xray": "true"})
    nodes = {node["id"] for node in answer.json()["nodes"]}
    assert {"__start__", "model", "tools", "__end__"} <= nodes


async def test_state_can_be_edited_and_forked(sdk: LangGraphClient, model: ModelServer) -> None:
    """An edit makes a checkpoint, and a run from an earlier one leaves the later turns out."""
    model.on("first", Reply("one"))
    model.on("second", Reply("two"))
    model.on("fork", Reply("three"))
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "agent", input=asked("first"))
    early = (await sdk.threads.get_history(thread, limit=1))[0]["checkpoint"]
    await sdk.runs.wait(thread, "agent", input=asked("second"))
    edit = {"messages": [{"role": "ai", "content": "edited"}]}
    await sdk.threads.update_state(thread, edit, as_node="model")
    state: Any = await sdk.threads.get_state(thread)
    assert state["values"]["messages"][-1]["content"] == "edited"
    forked: Any = await sdk.runs.wait(thread, "agent", input=asked("fork"), checkpoint=early)
    assert [m["content"] for m in forked["messages"]] == ["first", "one", "fork", "three"]


async def test_a_run_waits_before_its_tools_and_goes_on(
    sdk: LangGraphClient, model: ModelServer
) -> None:
    """Stopped before the tools node, a run goes on from there when it is resumed."""
    model.on("add", Reply(tool_calls=[ToolCall("calculate", {"expression": "1 + 1"})]), Reply("2"))
    thread = (await sdk.threads.create())["thread_id"]
    await sdk.runs.wait(thread, "agent", input=asked("add"), interrupt_before=["tools"])
    assert (await sdk.threads.get_state(thread))["next"] == ["tools"]
    ended: Any = await sdk.runs.wait(thread, "agent", input=None)
    assert [m["content"] for m in ended["messages"][-2:]] == ["1 + 1 = 2", "2"]


async def test_studio_may_call_from_its_origin(http: httpx.AsyncClient) -> None:
    """A preflight and a call from Studio's origin are allowed."""
    asking = {"Origin": STUDIO, "Access-Control-Request-Method": "POST"}
    preflight = await http.options("/threads", headers=asking)
    call = await http.post("/assistants/search", json={}, headers={"Origin": STUDIO})
    for answer in (preflight, call):
        assert answer.is_success
        assert answer.headers["access-control-allow-origin"] in ("*", STUDIO)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_the_api_is_documented(http: httpx.AsyncClient, path: str) -> None:
    """The server shows its API."""
    assert (await http.get(path)).is_success


async def test_the_stock_sdk_streams_without_us(server: LocalServer, model: ModelServer) -> None:
    """A script with nothing but langgraph-sdk gets the answer."""
    model.on("Hello, stock", Reply("Hello from the graph."))
    text = ""
    async with get_client(url=server.url) as client:
        async for part in client.runs.stream(
            None, "agent", input=asked("Hello, stock"), stream_mode="messages-tuple"
        ):
            if part.event == "messages":
                chunk: Any = part.data[0]  # type: ignore[index]
                text += chunk["content"]
    assert text == "Hello from the graph."


async def test_a_search_shows_as_a_retriever(agent: AgentClient, model: ModelServer) -> None:
    """`search_docs` is seen as retriever events, and finds the page about stream modes."""
    query = "Explain LangGraph streaming modes"
    model.on(query, Reply(tool_calls=[ToolCall("search_docs", {"query": query})]), Reply("Read."))
    async with agent.stream(query, modes=["events"]) as run:
        events = [e async for e in run if isinstance(e, Event) and "retriever" in e.name]
    assert [e.name for e in events] == ["on_retriever_start", "on_retriever_end"]
    sources = [page["metadata"]["source"] for page in events[-1].data["output"]]
    assert "langgraph-streaming-modes" in sources
