"""Seeded faults between a client and a real server, judged stream by stream.

    python -m tests.faults -n 300              300 scenarios against a server that is started here
    python -m tests.faults --seed 1234 -v      one scenario again, with all that happens in it
    python -m tests.faults --stock             the stock SDK under the same faults, beside ours

With `--url` any LangGraph-compatible server of this machine is tested whose assistant `agent` has
this project's tools (or `calculate` at least). Its model must be the scripted one that runs here:
start the suite with `--model-port P`, and the server with

    OPENAI_BASE_URL=http://127.0.0.1:P/v1 OPENAI_API_KEY=any STEADY_MODEL_IDLE_SECONDS=2 \\
    STEADY_MODEL_RETRIES=1

Servers are not killed then: that is done only to those that are started here.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from tests.faults import table
from tests.faults.deaths import death, judge_death
from tests.faults.judge import judge
from tests.faults.model_wire import ModelWire, model_wire
from tests.faults.outcome import Outcome
from tests.faults.scenarios import scenario
from tests.faults.series import CONCURRENCY, run_all, server_for
from tests.faults.stock import judge_stock
from tests.faults.truth import Server
from tests.model_server import ModelServer

README = Path(__file__).with_name("README.md")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-n", type=int, default=300, help="scenarios (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="this scenario alone")
    parser.add_argument("--deaths", type=int, default=18, help="how often a server is killed")
    parser.add_argument("--frames-off", action="store_true", help="each token is an event")
    parser.add_argument("--stock", action="store_true", help="the stock SDK too")
    parser.add_argument("--stock-n", type=int, default=150, help="its scenarios")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--model-port", type=int, default=0, help="where the model listens")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY)
    parser.add_argument("--markdown", action="store_true", help="write README.md beside this")
    parser.add_argument("-v", action="store_true", help="tell all that happens")
    return parser.parse_args()


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


async def _ours(options: argparse.Namespace, url: str, wire: ModelWire) -> list[Outcome]:
    seeds = range(options.first, options.first + options.n)
    make = partial(scenario, frames=not options.frames_off)
    tell: Callable[[str], None] = _say if options.v else lambda line: None
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
        _say(str(make(options.seed)))
    async with Server(url) as server:
        return await run_all(
            map(make, seeds),
            lambda made: judge(made, server, wire, tell),
            concurrency=options.concurrency,
            tell=_tell_wrong,
        )


def _tell_wrong(outcome: Outcome) -> None:
    if not outcome.is_right:
        _say(str(outcome))


async def _stock(
    options: argparse.Namespace, url: str, wire: ModelWire, resumable: bool
) -> list[Outcome]:
    make = partial(scenario, frames=not options.frames_off)
    seeds = range(options.first, options.first + options.stock_n)
    async with Server(url) as server:
        return await run_all(
            map(make, seeds),
            lambda made: judge_stock(made, server, wire, resumable=resumable),
            concurrency=options.concurrency,
        )


async def _deaths(options: argparse.Namespace, model: ModelServer) -> list[Outcome]:
    tell: Callable[[str], None] = _say if options.v else lambda line: None
    deaths = map(death, range(options.deaths))
    return await run_all(
        deaths, lambda d: judge_death(d, model, tell), concurrency=2, tell=_tell_wrong
    )


def _report(options: argparse.Namespace, tables: dict[str, Sequence[Outcome]]) -> None:
    for name, outcomes in tables.items():
        print(f"\n{table.text(name, table.rows(outcomes))}")
    if options.markdown and options.frames_off:
        whole = {"frames off": next(iter(tables.values()))}
        told = table.markdown(whole).splitlines()
        table.put_into(README, "faults, frames off", "\n".join([*told[:2], told[-1]]))
    elif options.markdown:
        table.put_into(README, "faults", table.markdown(tables))


def main() -> int:
    """Runs what the arguments say; 1 if anything of ours is wrong."""
    options = _arguments()
    tables: dict[str, Sequence[Outcome]] = {}
    with ModelServer() as model, model_wire(model, options.model_port) as wire:
        started = server_for(wire, frames=not options.frames_off)
        with nullcontext() if options.url else started as server:
            url = options.url or server.url
            ours = asyncio.run(_ours(options, url, wire))
            if options.stock and options.seed is None:
                for name, resumable in (("stock SDK", False), ("stock SDK, resumable", True)):
                    tables[name] = asyncio.run(_stock(options, url, wire, resumable))
        if options.seed is None and not options.url:
            ours += asyncio.run(_deaths(options, model))
    _report(options, {"steadystream": ours, **tables})
    wrong = [outcome for outcome in ours if not outcome.is_right]
    for outcome in wrong:
        print(outcome)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
