"""A cluster of two processes for the tests here; skipped where its parts are not installed."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.conftest import server_env
from tests.model_server import ModelServer
from tests.scale.cluster import Cluster, not_possible, running


@pytest.fixture(scope="session")
def installed() -> None:
    """Skips where a part is missing, but never in CI."""
    if reason := not_possible():
        assert "CI" not in os.environ, reason
        pytest.skip(reason)


@pytest.fixture(scope="session")
async def cluster(
    installed: None, model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("scale")
    env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"))
    async with running(folder, env, 2, linked=True) as started:
        yield started
