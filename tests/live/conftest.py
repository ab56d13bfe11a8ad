"""A server of graphs that are none of this project's, for the tests that ask them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"


@pytest.fixture(scope="session")
def graphs_server(
    model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """`langgraph dev` of the graphs in `tests/live/graphs`, in a folder of its own."""
    project = find_config(Path(__file__).parent).parent
    env = server_env(model.url, PYTHONPATH=str(project))
    with LocalServer(GRAPHS, env=env, folder=tmp_path_factory.mktemp("graphs")) as running:
        yield running


@pytest.fixture
async def graphs(graphs_server: LocalServer) -> AsyncIterator[AgentClient]:
    """A client of it."""
    async with AgentClient(graphs_server.url) as client:
        yield client
