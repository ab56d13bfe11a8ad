"""All contestants side by side, against one scripted model.

python -m tests.bench            prints the tables, and writes them into tests/bench/README.md
python -m tests.bench --quick    a short one, which writes nothing
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tests.bench import deaf, held, measure, pace, resumes, threads
from tests.bench.contestants import (
    MANY_JOBS,
    OURS,
    ROOT,
    STOCK,
    Contestant,
    all_servers,
    ask_worker,
    environment,
    langgraph_dev,
    scripted_model,
    tutorial,
    with_and_without_telemetry,
)
from tests.bench.measure import FULL, QUICK, Size
from tests.bench.table import OWN_CODE, Results, tables, write
from tests.bench.table import STOCK as STOCK_NAME
from tests.model_server import ModelServer

STARTED = time.monotonic()
failures: list[str] = []


def note(text: str) -> None:
    """Progress, beside the tables."""
    print(f"{time.monotonic() - STARTED:5.0f} s  {text}", file=sys.stderr, flush=True)


def attempt(what: str, work: Callable[[], Any], otherwise: Any) -> Any:
    """A contestant that fails leaves a gap in what is printed; the README then stays as it is."""
    note(what)
    try:
        return work()
    except Exception as error:
        failures.append(f"{what} failed: {type(error).__name__}: {error}")
        note(failures[-1])
        return otherwise


def one_at_a_time(model: Contestant, size: Size, results: Results) -> None:
    """Single streams: first texts and costs; and many at a real model's pace."""
    with all_servers(f"{model.url}/v1", MANY_JOBS) as servers:
        everyone = [model, *servers.values()]
        results.cold_seconds.append(servers[OURS].cold_seconds)
        results.first_texts_ms = attempt(
            "first texts", lambda: asyncio.run(measure.first_texts(everyone, size.rounds)), {}
        )
        results.costs = attempt("costs", lambda: asyncio.run(measure.costs(everyone, size)), {})
        three = servers["FastAPI tutorial"], servers[STOCK_NAME], servers[OURS]
        for load in size.loads:
            results.paces[load.streams] = attempt(
                f"{load.streams} streams at {pace.TOKENS_PER_SECOND} tokens a second",
                lambda load=load: pace.measured(*three, load),
                {},
            )
        env = environment(f"{model.url}/v1")
        url = servers[OURS].url
        results.clients_us = attempt("clients", lambda: measure.clients(url, size, env), {})
        results.slow_reader = attempt(
            "a slow reader", lambda: measure.slow_reader(url, size, env), None
        )
        if size is FULL:
            results.deaf_reader_kb = attempt(
                "deaf readers", lambda: deaf.server_memory(servers[OURS]), None
            )


def telemetry(model: Contestant, size: Size, results: Results) -> None:
    """What a stream costs with telemetry and without it, and what telemetry's own code does."""
    load = size.telemetry
    counts = str(load.rounds), str(load.streams)
    own = attempt(
        "telemetry alone", lambda: ask_worker("tests.bench.telemetry", *counts, env={}), []
    )
    with with_and_without_telemetry(f"{model.url}/v1", MANY_JOBS) as servers:
        results.telemetry = attempt("telemetry", lambda: pace.telemetry(*servers, load), {})
    results.telemetry[OWN_CODE] = own


def many_at_once(model: Contestant, size: Size, results: Results) -> None:
    """How many streams each server holds; one server at a time, with jobs for all."""
    env = environment(f"{model.url}/v1")
    ours = ROOT / "langgraph.json"
    made = {
        "FastAPI tutorial": lambda: tutorial(env),
        "stock": lambda: langgraph_dev("stock", STOCK, env, MANY_JOBS),
        OURS: lambda: langgraph_dev(OURS, ours, env, MANY_JOBS),
    }
    for name, server in made.items():
        with ExitStack() as stack:
            contestant = stack.enter_context(server())
            results.cold_seconds += [contestant.cold_seconds] if name == OURS else []
            found = attempt(
                f"streams that {name} holds",
                lambda it=contestant: asyncio.run(held.capacity(it, size.levels)),
                None,
            )
            if found:
                results.capacities[name] = found


def long_threads(size: Size, results: Results) -> None:
    """What a thread costs that grows, a long run joined at its end, how soon a stop is there."""
    with ModelServer() as model:
        results.resume = attempt("a resume", lambda: resumes.resume(size.long_run, model), None)
        results.growth = attempt("a long thread", lambda: threads.growth(size.turns, model), {})
        results.stops_ms = attempt("stops", lambda: threads.stops_ms(size.stops, model), [])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="little of everything")
    quick = parser.parse_args().quick
    size, results = QUICK if quick else FULL, Results()
    with scripted_model() as model:
        env = environment(f"{model.url}/v1")
        results.inside = attempt("in process", lambda: measure.inside(size, env), {})
        one_at_a_time(model, size, results)
        telemetry(model, size, results)
        many_at_once(model, size, results)
        long_threads(size, results)
        results.starts_seconds = attempt("starts", lambda: measure.starts(size, env), {})
    results.seconds = time.monotonic() - STARTED
    told = tables(results)
    print(told)
    if failures:
        sys.exit("\n".join(["The README is left as it is:", *failures]))
    if not quick:
        write(told, ROOT / "tests/bench/README.md")


if __name__ == "__main__":
    main()
