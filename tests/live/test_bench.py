"""The benchmark runs, and tells figures of every contestant; what they are is not judged here."""

import asyncio
import sys
from pathlib import Path

import pytest

from client.cli.bench import Heard, figures, percentile
from client.cli.bench_table import histogram
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer

pytestmark = pytest.mark.timeout(900)  # it is work, and a busy machine takes long for it

ROOT = Path(__file__).parents[2]


async def printed(*command: str) -> tuple[int | None, str]:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await running.communicate()
    return running.returncode, told.decode()


async def test_the_short_benchmark_has_every_row() -> None:
    """A short run of everything ends well, and no contestant failed."""
    code, told = await printed("tests.bench", "--quick")
    assert code == 0, told
    assert "failed" not in told
    assert "text complete" in told
    for row in (
        "stock",
        "FastAPI tutorial",
        "steadystream",
        "steadystream, `/agent/stream`",
        "off",
    ):
        assert f"| {row} |" in told


async def test_any_server_can_be_measured(server: LocalServer) -> None:
    """`steady bench --url` prints figures of each mode that was asked for."""
    question = "stream 60 tokens at 300 per second"
    code, told = await printed(
        *("client.cli.main", "bench", "--url", server.url, "--runs", "3", "--streams", "2"),
        *("--question", question, "--mode", "messages", "--mode", "events"),
    )
    assert code == 0, told
    assert "messages: gaps between texts" in told
    assert "events: gaps between texts" in told
    assert "…" not in told, "a cell was cut at 80 columns"


async def test_runs_begin_at_a_rate(server: LocalServer, model: ModelServer) -> None:
    """At a rate, runs begin while earlier ones are open, though one at a time is the default."""
    question = "stream 20 tokens at 5 per second"
    all_open = asyncio.create_task(
        asyncio.to_thread(model.wait_for, lambda model: model.open_streams >= 4, 60)
    )
    code, told = await printed(
        *("client.cli.main", "bench", "--url", server.url, "--runs", "4", "--rate", "20"),
        *("--question", question),
    )
    await all_open
    assert code == 0, told
    assert "4 runs a mode, 20 begun a second" in " ".join(told.split())


async def test_a_server_that_fails_is_told_so(server: LocalServer) -> None:
    """Runs that fail are counted, with the server's words, and the exit code says so."""
    code, told = await printed(
        "client.cli.main", "bench", "--url", server.url, "--runs", "2", "--question", "fail 503"
    )
    assert code == 1
    assert "2 of 2 runs failed" in told
    assert "failed with status 503" in " ".join(told.split())


def test_figures_are_those_of_the_streams() -> None:
    """Gaps, rates and bytes come from what was heard; a stream that failed is left out."""
    good = Heard([0.1, 0.2, 0.4], 40, 10, 500, 0.5)
    found = figures([good, Heard(error="broken")])
    assert (found.streams, list(found.failed)) == (2, ["broken"])
    assert [round(gap, 3) for gap in found.gaps] == [0.1, 0.2]
    assert round(found.tokens_per_second, 3) == round(10 / 0.3, 3)
    assert (found.bytes_per_token, found.is_estimated) == (50.0, False)
    assert figures([Heard([0.1], 40, 0, 500, 0.5)]).is_estimated
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentile([], 0.5) is None


def test_a_histogram_shows_where_the_values_are() -> None:
    """The fullest step has the tallest bar, an empty one none."""
    assert histogram([0.1, 0.1, 0.1, 1.0], 2) == "█▃"
    assert histogram([0.0, 3.0], 3) == "█ █"
