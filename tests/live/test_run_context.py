"""A run's context with a field that its assistant does not know, on every surface."""

from collections.abc import AsyncIterator

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import UnprocessableEntityError

from client import AgentClient, InvalidRequest
from client.cli.local_server import LocalServer
from tests.live.test_websocket import say, talking, turn
from tests.model_server import ModelServer

TYPO = {"temprature": 0.5}


@pytest.fixture
async def sdk(server: LocalServer) -> AsyncIterator[LangGraphClient]:
    client = get_client(url=server.url)
    yield client
    await client.http.client.aclose()


async def test_an_unknown_field_is_named_by_the_client_and_the_sdk(
    agent: AgentClient, sdk: LangGraphClient, model: ModelServer
) -> None:
    """The run is refused before it is made, for a graph and for an assistant of one's own."""
    before = len(model.requests)
    own = await sdk.assistants.create("chat", name="own")
    with pytest.raises(InvalidRequest, match=r"temprature.*temperature"):
        await agent.stream("Hello?", context=TYPO).text()
    for assistant in ("agent", "chat", own["assistant_id"]):
        thread = await sdk.threads.create()
        with pytest.raises(UnprocessableEntityError, match="temprature"):
            await sdk.runs.create(
                thread["thread_id"],
                assistant,
                input={"messages": [{"role": "user", "content": "Hello?"}]},
                context=TYPO,
            )
        assert await sdk.runs.list(thread["thread_id"]) == []
    assert len(model.requests) == before


async def test_an_assistant_is_not_stored_with_an_unknown_field(sdk: LangGraphClient) -> None:
    """Creating and changing one are refused, by its own graph's fields; known ones are stored."""
    for graph in ("agent", "chat"):
        with pytest.raises(UnprocessableEntityError, match=r"temprature.*temperature"):
            await sdk.assistants.create(graph, name="typo", context=TYPO)
        own = await sdk.assistants.create(graph, name="own", context={"temperature": 0.5})
        for graph_id in (None, graph):
            with pytest.raises(UnprocessableEntityError, match="temprature"):
                await sdk.assistants.update(own["assistant_id"], graph_id=graph_id, context=TYPO)
        stored = await sdk.assistants.get(own["assistant_id"])
        assert stored["context"] == {"temperature": 0.5}
    assert await sdk.assistants.search(name="typo") == []


async def test_an_unknown_field_is_named_on_the_routes(
    server: LocalServer, model: ModelServer
) -> None:
    """Server-sent events answer 422, and the WebSocket says it in band."""
    before = len(model.requests)
    body = {"message": "Hello?", "context": TYPO}
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        response = await http.post("/agent/stream", json=body)
    assert response.status_code == 422
    assert "temprature" in response.text
    async with talking(server) as socket:
        await say(socket, type="message", message="Hello?", context=TYPO)
        events = await turn(socket)
    assert "temprature" in next(e["message"] for e in events if e["type"] == "error")
    assert len(model.requests) == before


async def test_known_fields_are_taken(agent: AgentClient, model: ModelServer) -> None:
    """A context whose fields are all known holds for the run."""
    await agent.stream("With known fields.", context={"temperature": 0.5}).text()
    assert model.requests[-1]["temperature"] == 0.5
