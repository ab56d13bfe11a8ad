"""A share of the kills, in every test run."""

import asyncio
import os

import pytest

from tests.faults.kills import series

KILLS = int(os.environ.get("STEADY_KILLS", "8"))


@pytest.mark.timeout(60 * KILLS)
async def test_a_killed_server_loses_nothing_that_was_finished() -> None:
    """No thread is damaged, no finished turn is lost, and nothing is done twice in silence."""
    every_second = (series(range(first, KILLS, 2)) for first in range(2))  # most is waiting
    one, other = await asyncio.gather(*every_second)
    found = one + other
    assert all(verdict.endswith(": ok") for verdict in found), found
