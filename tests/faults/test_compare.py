"""Clients of other makers under a seeded share of the faults: the judge sees what each delivers."""

from collections.abc import Iterator

import pytest

from client.cli.local_server import LocalServer
from tests.clients.environments import HERE, needs
from tests.faults.compare import OURS, compare
from tests.faults.contestants import for_contestants
from tests.faults.model_wire import ModelWire, model_wire
from tests.faults.series import server_for
from tests.model_server import ModelServer

pytestmark = pytest.mark.timeout(180)
COMPLETE = "complete"


@pytest.fixture(scope="module")
def wire(model: ModelServer) -> Iterator[ModelWire]:
    with model_wire(model) as between:
        yield between


@pytest.fixture(scope="module")
def running(wire: ModelWire) -> Iterator[LocalServer]:
    with server_for(wire) as server:
        yield server


async def test_contestants(running: LocalServer, wire: ModelWire) -> None:
    """Ours delivers each stream; the JS SDK's thread streams never claim what they did not bring;
    its older run streams do, and are found out."""
    needs(HERE / "node_modules")
    found = await compare(running.url, wire, for_contestants(range(12)))
    verdicts = {name: [it.verdict for it in outcomes] for name, outcomes in found.items()}
    assert set(verdicts.pop(OURS)) == {COMPLETE}
    assert set(verdicts["JS SDK, v3"]) <= {COMPLETE, "told"}
    assert len(set(verdicts["JS SDK, v2"]) - {COMPLETE, "told"}) > 0
    for name, outcomes in found.items():
        assert sum(len(it.faults) for it in outcomes) > len(outcomes) / 2, name
        assert verdicts.get(name, [COMPLETE]).count("hang") == 0
