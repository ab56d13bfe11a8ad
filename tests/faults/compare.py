"""Clients of other makers and ours under the same faults, on a stock server and on ours.

    python -m tests.faults.compare -n 40              prints a table for each server
    python -m tests.faults.compare -n 40 --markdown   and writes them into README.md beside this

A stock server is `langgraph dev` with an agent as LangGraph's documentation builds it. Each client
is asked for the text of an answer; the scenarios are those of the suite in which the network fails
between client and server, and the model does not. What else befalls a run is in `rivals`.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from client.cli.local_server import LocalServer
from tests.faults import rivals, table
from tests.faults.contestants import (
    Contestant,
    JavaScript,
    for_contestants,
    python_v2,
    python_v3,
)
from tests.faults.judge import judge
from tests.faults.model_wire import ModelWire, model_wire
from tests.faults.outcome import Outcome
from tests.faults.scenarios import Scenario
from tests.faults.series import CONCURRENCY, run_all, server_for
from tests.faults.stock import judge_contestant
from tests.faults.truth import Server
from tests.model_server import ModelServer

README = Path(__file__).with_name("README.md")
STOCK = Path(__file__).with_name("stock_agent") / "langgraph.json"
OURS = "steadystream"
COLUMNS = ("streams", "complete", "error told", "cut short", "lost or doubled", "hangs, wrong")
RIVALS = ("steadystream", "Python SDK, v3", "JS SDK, v3")
_VERDICTS = {"complete": 1, "told": 2, "silent end": 3, "lost or doubled": 4}


@contextmanager
def stock_server(wire: ModelWire) -> Iterator[LocalServer]:
    """A server without anything of this project."""
    env = {"OPENAI_BASE_URL": wire.url, "OPENAI_API_KEY": "test-key"}
    with (
        TemporaryDirectory(prefix="stock-") as folder,
        LocalServer(STOCK, env=env, folder=Path(folder)) as running,
    ):
        yield running


SERVERS: dict[str, rivals.Start] = {"stock server": stock_server, "our server": server_for}


async def compare(
    url: str, wire: ModelWire, scenarios: Sequence[Scenario], concurrency: int = CONCURRENCY
) -> dict[str, list[Outcome]]:
    """Each client's outcomes, ours first."""
    async with Server(url) as server, JavaScript() as javascript:
        found = {
            OURS: await run_all(
                scenarios, lambda made: judge(made, server, wire), concurrency=concurrency
            )
        }
        contestants: dict[str, Contestant] = {
            "Python SDK, v3": python_v3,
            "Python SDK, v2 resumable": python_v2(resumable=True),
            "Python SDK, v2": python_v2(resumable=False),
            **{f"JS SDK, {api}": javascript.reads(api) for api in ("v3", "v2 resumable", "v2")},
        }
        for name, read in contestants.items():
            found[name] = await run_all(
                scenarios,
                lambda made, name=name, read=read: judge_contestant(  # type: ignore[misc]
                    made, server, wire, name, read
                ),
                concurrency=concurrency,
            )
    return found


def row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """How many streams ended in each way."""
    counts = [len(outcomes), 0, 0, 0, 0, 0]
    for outcome in outcomes:
        counts[_VERDICTS.get(outcome.verdict, 5)] += 1
    return [name, *map(str, counts)]


def markdown(found: dict[str, dict[str, list[Outcome]]]) -> str:
    """One table: a row for each client on each server."""
    lines = [["client", *COLUMNS], ["---", *["---:"] * len(COLUMNS)]]
    for server, by_client in found.items():
        lines += [row(f"{name}, {server}", outcomes) for name, outcomes in by_client.items()]
    return _table(lines)


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _tell(by_client: dict[str, list[Outcome]], verbose: bool) -> None:
    for client, outcomes in by_client.items():
        for outcome in outcomes if verbose else ():
            if outcome.verdict != "complete":
                print(f"    {client}: {outcome}", flush=True)


def main() -> int:
    """Prints the tables; 1 if anything of ours is wrong on our server."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-n", type=int, default=40, help="seeds (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--markdown", action="store_true", help="write README.md beside this")
    parser.add_argument("-v", action="store_true", help="tell each stream that is not complete")
    options = parser.parse_args()
    scenarios = for_contestants(range(options.first, options.first + options.n))
    found: dict[str, dict[str, list[Outcome]]] = {}
    rest = [["what happens, server", *RIVALS], ["---"] * (1 + len(RIVALS))]
    with ModelServer() as model, model_wire(model) as wire:
        for name, started in SERVERS.items():
            with started(wire) as server:
                found[name] = asyncio.run(compare(server.url, wire, scenarios))
            for cells, by_client in rivals.rows(started, name, wire, options.n // 5):
                rest.append(cells)
                print("  ".join(cells), flush=True)
                _tell(by_client, options.v)
    for name, by_client in found.items():
        print(f"\n{name}")
        for client, outcomes in by_client.items():
            print("  ".join(row(client, outcomes)))
        _tell(by_client, options.v)
    if options.markdown:
        table.put_into(README, "contestants", markdown(found))
        table.put_into(README, "thread streams", _table(rest))
    return int(any(not outcome.is_right for outcome in found["our server"][OURS]))


if __name__ == "__main__":
    sys.exit(main())
