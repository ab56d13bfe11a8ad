"""A share of the faults, in every test run."""

import os

import pytest

from tests.model_server import ModelServer
from tests.scale.cluster import Cluster
from tests.scale.faults import series

FAULTS = int(os.environ.get("STEADY_SCALE_FAULTS", "5"))


@pytest.mark.timeout(60 * FAULTS)
async def test_streams_outlive_what_they_stand_on(cluster: Cluster, model: ModelServer) -> None:
    """Processes, connections and storage fail: no stream is short, and no message is lost."""
    found = await series(range(FAULTS), cluster, model)
    assert all(verdict.endswith(": ok") for verdict in found), found
