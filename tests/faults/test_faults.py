"""A seeded share of the fault suite, against real servers."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from client.cli.local_server import LocalServer
from tests.faults.deaths import death, judge_death
from tests.faults.judge import judge
from tests.faults.model_wire import ModelWire, model_wire
from tests.faults.outcome import Outcome
from tests.faults.plan import NetFault, Plan
from tests.faults.scenarios import Scenario, scenario
from tests.faults.series import run_all, server_for
from tests.faults.stock import judge_stock
from tests.faults.truth import Server
from tests.model_server import ModelServer, Reply

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def wire(model: ModelServer) -> Iterator[ModelWire]:
    with model_wire(model) as between:
        yield between


@pytest.fixture(scope="module")
def framed(wire: ModelWire) -> Iterator[LocalServer]:
    with server_for(wire) as running:
        yield running


@pytest.fixture(scope="module")
def frameless(wire: ModelWire) -> Iterator[LocalServer]:
    with server_for(wire, frames=False) as running:
        yield running


@pytest.fixture
async def server(framed: LocalServer) -> AsyncIterator[Server]:
    async with Server(framed.url) as asked:
        yield asked


async def wrong(scenarios: list[Scenario], server: Server, wire: ModelWire) -> list[str]:
    outcomes = await run_all(scenarios, lambda made: judge(made, server, wire))
    assert sum(len(outcome.faults) for outcome in outcomes) > len(scenarios) / 2
    return [str(outcome) for outcome in outcomes if not outcome.is_right]


async def test_every_stream_is_complete_or_told(server: Server, wire: ModelWire) -> None:
    """Whatever the network does, each stream gives everything once, or ends in the right error."""
    assert await wrong([scenario(seed) for seed in range(100)], server, wire) == []


async def test_the_same_holds_without_frames(frameless: LocalServer, wire: ModelWire) -> None:
    """With an event for each token, many of them under one id, nothing is lost or doubled."""
    made = [scenario(seed, frames=False) for seed in range(60)]
    async with Server(frameless.url) as asked:
        assert await wrong(made, asked, wire) == []


async def test_every_model_failure_is_told(server: Server, wire: ModelWire) -> None:
    """A model that fails in the middle ends each stream in ModelFailed with the text so far."""
    failing = [made for made in map(scenario, range(1000, 1200)) if made.must_fail]
    outcomes = await run_all(failing[:10], lambda made: judge(made, server, wire))
    assert [str(o) for o in outcomes if o.verdict != "told"] == []


@pytest.mark.parametrize("seed", range(3), ids=["for good", "restarted", "resumed"])
async def test_a_killed_server_is_survived_or_told(model: ModelServer, seed: int) -> None:
    """When the server dies, back or not, the stream ends in time, whole or in a right error."""
    outcome = await judge_death(death(seed), model)
    assert outcome.is_right, str(outcome)


async def test_the_ruler_sees_what_the_stock_client_loses(server: Server, wire: ModelWire) -> None:
    """The same judge finds the end of a stream that the stock SDK drops without a word."""
    words = tuple(f"{' ' if n else ''}word{n}" for n in range(100))
    cut = Plan(streams=(NetFault("rst", 6_000), NetFault("end", 1)))
    asked = Scenario(
        0, "cut", ("messages",), "Cut twice", (Reply(words, tokens_per_second=100.0),), cut
    )
    stock = await judge_stock(asked, server, wire, resumable=False)
    ours = await judge(replace(asked, question="Cut twice (ours)"), server, wire)
    assert stock.verdict in ("silent end", "lost or doubled")
    assert stock.lost > 10
    assert ours.verdict == "complete"
    assert_faults(ours, ["rst", "end"])


def assert_faults(outcome: Outcome, kinds: list[str]) -> None:
    assert [fault.kind for fault in outcome.faults] == kinds
