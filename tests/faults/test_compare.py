"""Clients of other makers under a seeded share of the faults: the judge sees what each delivers."""

from collections.abc import Iterator

import pytest

from client.cli.local_server import LocalServer
from tests.clients.environments import HERE, needs
from tests.faults.compare import OURS, compare
from tests.faults.contestants import Contestant, JavaScript, for_contestants, steadystream
from tests.faults.model_wire import ModelWire, model_wire
from tests.faults.rivals import APPROVAL, JOIN_LATER, MODEL, STOP, scenarios
from tests.faults.series import run_all, server_for
from tests.faults.stock import judge_contestant
from tests.faults.truth import Server
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


async def verdicts(what: str, read: Contestant, url: str, wire: ModelWire, count: int) -> set[str]:
    async with Server(url) as server:
        found = await run_all(
            scenarios(what, range(count)),
            lambda made: judge_contestant(made, server, wire, read.__qualname__, read),
        )
    return {outcome.verdict for outcome in found}


@pytest.mark.parametrize("what", [STOP, MODEL, JOIN_LATER, APPROVAL])
async def test_what_befalls_a_run(running: LocalServer, wire: ModelWire, what: str) -> None:
    """Stopped, tried again, joined or approved, a run leaves its reader what the thread holds."""
    expected = {COMPLETE, "told"} if what == MODEL else {COMPLETE}
    assert await verdicts(what, steadystream, running.url, wire, 4) <= expected


async def test_stops_over_v3(running: LocalServer, wire: ModelWire) -> None:
    """What a reader of the JS SDK's thread stream saw before his stop is kept, once."""
    needs(HERE / "node_modules")
    async with JavaScript() as javascript:
        found = await verdicts(STOP, javascript.reads("v3"), running.url, wire, 4)
    assert found <= {COMPLETE, "silent end", "told"}  # it may read nothing after the stop
