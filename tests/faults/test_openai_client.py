"""OpenAI's client under a seeded share of the faults: it reads each response to its end."""

import pytest

from tests.faults.contestants import for_contestants
from tests.faults.model_wire import model_wire
from tests.faults.openai_client import is_wrong, series
from tests.faults.series import server_for
from tests.model_server import ModelServer

pytestmark = pytest.mark.timeout(300)


async def test_responses_under_faults(model: ModelServer) -> None:
    """Read on after its last number, no response loses or doubles a token, or ends in silence."""
    scenarios = for_contestants(range(60))[:20]
    with model_wire(model) as wire, server_for(wire) as server:
        outcomes = await series(server.url, wire, scenarios, concurrency=5)
    assert [str(outcome) for outcome in outcomes if is_wrong(outcome)] == []
    assert sum(len(outcome.faults) for outcome in outcomes) > len(outcomes) / 2
