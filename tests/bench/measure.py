"""The measurements, in turns, so that a slow moment of the machine hits every contestant."""

import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from client.cli.bench import Heard, figures
from tests.bench.contestants import ROOT, Contestant, ask_worker
from tests.bench.pace import Load

Series = dict[str, list[float]]


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    tokens: int
    levels: tuple[int, ...]
    loads: tuple[Load, ...]
    telemetry: Load
    turns: int
    long_run: int
    stops: int


FULL = Size(
    rounds=3,
    tokens=5000,
    levels=(25, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600),
    loads=(Load(20, 5, rounds=2), Load(100, 5, rounds=1)),
    telemetry=Load(20, 5, rounds=6),
    turns=400,
    long_run=100_000,
    stops=20,
)
QUICK = Size(
    rounds=1,
    tokens=300,
    levels=(2,),
    loads=(Load(2, 1, rounds=1),),
    telemetry=Load(2, 1, rounds=1),
    turns=20,
    long_run=1000,
    stops=3,
)


async def first_texts(contestants: Iterable[Contestant], rounds: int) -> Series:
    """Milliseconds to the first text, one stream at a time."""
    found: Series = defaultdict(list)
    for number in range(2 * rounds + 1):
        for contestant in contestants:
            async with httpx.AsyncClient(base_url=contestant.url) as http:
                await http.get("/ok")
                heard = await contestant.ask(http, "stream 10 tokens at 50 per second")
            if number and heard.first_text_seconds is not None:
                found[contestant.name].append(1000 * heard.first_text_seconds)
    return found


@dataclass(frozen=True)
class Cost:
    """What tokens at full model speed cost one server: medians over the rounds."""

    cpu_us: list[float]
    bytes_per_token: float
    tokens_per_second: float


async def costs(contestants: Iterable[Contestant], size: Size) -> dict[str, Cost]:
    """Server CPU and bytes a token, and tokens a second, at full model speed."""
    cpu: Series = defaultdict(list)
    heard: dict[str, list[Heard]] = defaultdict(list)
    for number in range(size.rounds + 1):
        for contestant in contestants:
            async with httpx.AsyncClient(base_url=contestant.url) as http:
                before = contestant.cpu_seconds()
                tokens = size.tokens if number else QUICK.tokens  # the first warms up
                stream = await contestant.ask(http, f"stream {tokens} tokens")
            if number and not stream.error:
                spent = contestant.cpu_seconds() - before
                cpu[contestant.name].append(1e6 * spent / max(stream.tokens, 1))
                heard[contestant.name].append(stream)
    return {name: _cost(cpu[name], heard[name]) for name in heard}


def _cost(cpu_us: list[float], heard: list[Heard]) -> Cost:
    bytes_per_token = figures(heard).bytes_per_token
    return Cost(cpu_us, bytes_per_token, _median(h.tokens / h.duration_seconds for h in heard))


def clients(url: str, size: Size, env: dict[str, str]) -> dict[str, list[float]]:
    """CPU microseconds a token of each client, reading the same server."""
    found: Series = defaultdict(list)
    for _ in range(max(size.rounds - 2, 1)):
        for kind in ("sdk", "steady"):
            told = ask_worker(
                "tests.bench.reading", kind, url, f"stream {size.tokens} tokens", "1", env=env
            )
            found[kind] += [1e6 * seconds / size.tokens for seconds in told["cpu_seconds"]]
    return found


def slow_reader(url: str, size: Size, env: dict[str, str]) -> tuple[float, bool]:
    """MB that a client grows by when it takes 10 events a second, and whether it got all text."""
    tokens = 4 * size.tokens
    question = f"stream {tokens} tokens"
    told = ask_worker("tests.bench.reading", "steady", url, question, "1", "10", env=env)
    return told["grown_bytes"] / 1e6, told["characters"] == [len(" word0") * tokens]


def inside(size: Size, env: dict[str, str]) -> dict[str, dict[str, list[float]]]:
    """`graph.astream` in a process of its own, with frames and without."""
    found: dict[str, dict[str, list[float]]] = {}
    questions = f"stream {size.tokens} tokens", "stream 10 tokens at 50 per second"
    graphs = {
        "LangGraph in process": ("tests.bench.stock.stock_agent:graph", env),
        "ours in process": ("agent.graph:graph", env),
        "ours in process, frames off": ("agent.graph:graph", {**env, "STEADY_FRAME_SECONDS": "0"}),
    }
    for name, (graph, its_env) in graphs.items():
        full, paced = ask_worker(
            "tests.bench.inside", graph, str(max(size.rounds - 1, 1)), *questions, env=its_env
        )
        found[name] = {
            "cpu_us": [1e6 * seconds / size.tokens for seconds in full["cpu_seconds"]],
            "tokens_per_second": [size.tokens / seconds for seconds in full["seconds"]],
            "first_text_ms": [1000 * seconds for seconds in paced["first_text_seconds"]],
        }
    return found


def starts(size: Size, env: dict[str, str]) -> dict[str, list[float]]:
    """CPU seconds of fresh processes."""
    found: Series = defaultdict(list)
    commands = {
        "import agent.graph": [sys.executable, "-c", "import agent.graph"],
        "import client": [sys.executable, "-c", "import client"],
        "steady --help": [sys.executable, "-m", "client.cli.main", "--help"],
    }
    for _ in range(size.rounds):
        for name, command in commands.items():
            before = os.times()
            subprocess.run(
                command, cwd=ROOT, env={**os.environ, **env}, check=True, capture_output=True
            )
            after = os.times()
            found[name].append(
                after.children_user - before.children_user
                + after.children_system - before.children_system
            )  # fmt: skip
    return found


def _median(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.median(found) if found else 0.0
