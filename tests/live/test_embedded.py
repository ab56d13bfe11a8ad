"""The embedded default itself, as the agent uses it: a real model, a real server."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.embedded import EmbeddedError, weights
from client import AgentClient, Done, ModelFailed, Token, ToolResult
from client.cli.local_server import LocalServer, find_config

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
async def embedded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AgentClient]:
    """A server with neither key nor base URL."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the `embedded` extra is not installed")
    try:
        weights.locate()
    except EmbeddedError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("embedded")
    env = {"OPENAI_API_KEY": "", "OPENAI_BASE_URL": "", "STEADY_MODEL": ""}
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as server:
        async with AgentClient(server.url) as client:
            yield client


async def test_its_answer_streams(embedded: AgentClient) -> None:
    """A plain question is answered in several token events, which joined are the answer."""
    async with embedded.stream("Write two sentences about the sea.") as run:
        events = [event async for event in run]
        said = [event.content for event in events if isinstance(event, Token)]
        assert "".join(said) == await run.text()
    assert len(said) > 3
    assert isinstance(events[-1], Done)
    assert events[-1].status == "success"


async def test_arithmetic_uses_calculate(embedded: AgentClient) -> None:
    """An arithmetic question calls `calculate`, and its result comes back to the person."""
    async with embedded.stream("What is 17 * 23?") as run:
        events = [event async for event in run]
        assert "391" in await run.text()
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [(r.tool, r.status, "391" in r.content) for r in results] == [("calculate", "ok", True)]


async def test_it_answers_for_no_other_model(embedded: AgentClient) -> None:
    """A run that asks for another model fails, and says what would give it that model."""
    with pytest.raises(ModelFailed, match=r"gpt-5-mini.*OPENAI_API_KEY"):
        await embedded.ask("Who are you?", context={"model": "gpt-5-mini"})
