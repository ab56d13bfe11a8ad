"""One, two and four server processes on one PostgreSQL and one Redis, and what many would need.

    python -m tests.bench.scale        prints the tables, and writes them into agent/scale/README.md

First the processes are kept as busy as they can be, one, two and four in turns: what tokens a
second do they give together, at their best? All are up and warm, and measured moments apart: a
machine that others use, too, is a quarter slower for a minute now and then. Two have to give
`GOAL` times as many as one.
Then streams at the pace of a person's reading tell what a run and a frame cost, with about as many
on a process as the plan puts there: processor time of the servers, of PostgreSQL and of Redis,
bytes through Redis, and commits. From these the last table says what ten thousand streams need. A
process is one event loop, at most `BUSY` of the time; it gets as many streams as it can serve so,
with the frames that its clock gives so many. So is one Redis; where one is not enough, the
processes that share one are a cell, and a thread stays in its.
"""

import argparse
import asyncio
import contextlib
import itertools
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from agent.model.frame_clock import LONGEST_FRAME_SECONDS, frame_seconds
from client import AgentClient, Limits
from tests.bench.contestants import ROOT, scripted_model
from tests.conftest import server_env
from tests.scale.cluster import Cluster, not_possible, running

COUNTS = (1, 2, 4)
SECONDS = 20.0
AT_ONCE = (40, 80)  # streams that keep all processes busy; which is best, is each count's own
BUSY_TOKENS = 20_000  # of each, as fast as the model gives them
ROUNDS = 4
WARM_UPS = 2  # of as many short answers at once: connections, statements, Python's own caches
GOAL = 1.5  # of two processes, in tokens a second of one
RATE = 50  # tokens a second, of one stream
PACED = 32  # streams of the one process whose costs are measured
SHORT, LONG = 100, 500  # tokens of a run
STREAMS = 10_000
TURN_TOKENS = 300  # of an answer in the plan
BUSY = 0.6
BEGIN, END = "<!-- scale: begin -->", "<!-- scale: end -->"
_LIMITS = Limits(first_event_seconds=None)


@dataclass(frozen=True)
class Spent:
    """What a load took: counts, and seconds of processor time."""

    seconds: float
    runs: int
    tokens: int
    server_cpu: float
    postgres_cpu: float
    redis_cpu: float
    redis_bytes: float
    commits: float
    frames: float


class Meter:
    """Counters of everything that a cluster stands on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self) -> dict[str, float]:
        stats = _info(self._cluster.redis.port)
        with psycopg.connect(self._cluster.postgres.uri, autocommit=True) as connection:
            row = connection.execute("SELECT sum(xact_commit) FROM pg_stat_database").fetchone()
        return {
            "server_cpu": sum(_cpu(p.process.pid) for p in self._cluster.processes if p.process),
            "postgres_cpu": _family_cpu(self._cluster.postgres.process),
            "redis_cpu": _family_cpu(self._cluster.redis.process),
            "redis_bytes": stats["total_net_input_bytes"] + stats["total_net_output_bytes"],
            "commits": float(row[0]) if row else 0.0,
            "frames": stats.get("cmdstat_xadd", 0.0),
        }


def _info(port: int) -> dict[str, float]:
    """Redis's counters by name; of a command, how often it was called."""
    asked = ["redis-cli", "-p", str(port), "info", "all"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^(\w+):(?:calls=)?([\d.]+)(?=[,\r\n])", told, re.MULTILINE)
    return {name: float(value) for name, value in found if value.count(".") < 2}


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _family_cpu(process: object) -> float:
    """With children that have ended: a database has one process for each connection."""
    root = psutil.Process(process.pid)  # type: ignore[attr-defined]
    total = 0.0
    for each in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # its parent has what it took
            times = each.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextlib.asynccontextmanager
async def _clients(cluster: Cluster) -> AsyncIterator[list[AgentClient]]:
    """One of each process."""
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(AgentClient(process.url, limits=_LIMITS))
            for process in cluster.processes
        ]


async def load(cluster: Cluster, question: str, at_once: int, seconds: float) -> Spent:
    """Streams that follow one another, `at_once` at a time, for this long; and what they took."""
    meter = Meter(cluster)
    await _streams(cluster, question, at_once, 2.0)  # what is set up once
    before, began = await asyncio.to_thread(meter.read), time.monotonic()
    runs, tokens = await _streams(cluster, question, at_once, seconds)
    took, after = time.monotonic() - began, await asyncio.to_thread(meter.read)
    return Spent(took, runs, tokens, **{name: after[name] - before[name] for name in before})


async def _streams(
    cluster: Cluster, question: str, at_once: int, seconds: float
) -> tuple[int, int]:
    end, runs, tokens = time.monotonic() + seconds, 0, 0

    async def one_after_the_other(agent: AgentClient) -> None:
        nonlocal runs, tokens
        while time.monotonic() < end:
            text = await agent.stream(question, assistant_id="chat").text()
            runs, tokens = runs + 1, tokens + len(text.split())

    async with _clients(cluster) as agents:
        await asyncio.gather(
            *(one_after_the_other(agents[n % len(agents)]) for n in range(at_once))
        )
    return runs, tokens


async def throughput(cluster: Cluster, question: str, at_once: int) -> float:
    """Tokens a second of streams that ask for more than can be had, from the first to the last."""

    async def read(agent: AgentClient) -> int:
        return (await agent.stream(question, assistant_id="chat").text()).count("word")

    async with _clients(cluster) as agents:
        began = time.monotonic()
        heard = await asyncio.gather(*(read(agents[n % len(agents)]) for n in range(at_once)))
        return sum(heard) / (time.monotonic() - began)


@contextlib.asynccontextmanager
async def started(model_url: str, count: int) -> AsyncIterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="steady-scale-") as name:
        env = server_env(model_url, N_JOBS_PER_WORKER=str(max(AT_ONCE)))  # work is measured
        async with running(Path(name), env, count) as cluster:
            yield cluster


async def paced(model_url: str, seconds: float) -> tuple[Spent, Spent]:
    """What short and long answers cost one process, at a reader's pace."""
    async with started(model_url, 1) as cluster:
        short, long = [
            await load(cluster, f"stream {tokens} tokens at {RATE} per second", PACED, seconds)
            for tokens in (SHORT, LONG)
        ]
    return short, long


async def busiest(model_url: str, rounds: int, tokens: int) -> dict[int, float]:
    """The most tokens a second that so many processes gave, all measured in turns."""
    best = dict.fromkeys(COUNTS, 0.0)
    async with contextlib.AsyncExitStack() as stack:
        clusters = [await stack.enter_async_context(started(model_url, n)) for n in COUNTS]
        for cluster in clusters * WARM_UPS:
            await throughput(cluster, "stream 30 tokens", max(AT_ONCE))
        for at_once, _ in itertools.product(AT_ONCE, range(rounds)):
            clusters.reverse()
            for cluster in clusters:
                count = len(cluster.processes)
                rate = await throughput(cluster, f"stream {tokens} tokens", at_once)
                best[count] = max(best[count], rate)
                told = f"{count} processes, {at_once} streams: {rate:,.0f} tokens/s"
                print(told, file=sys.stderr, flush=True)
    return best


@dataclass(frozen=True)
class Costs:
    """Of one run, and of one frame, by what is spent."""

    run: dict[str, float]
    frame: dict[str, float]


def fitted(short: Spent, long: Spent) -> Costs:
    """Two loads, two unknowns for each kind of cost: runs x a + frames x b, none below 0."""
    run, frame = {}, {}
    determinant = short.runs * long.frames - long.runs * short.frames
    for name in ("server_cpu", "postgres_cpu", "redis_cpu", "redis_bytes", "commits"):
        one, other = getattr(short, name), getattr(long, name)
        run[name] = (one * long.frames - other * short.frames) / determinant
        frame[name] = (short.runs * other - long.runs * one) / determinant
        if run[name] < 0:
            run[name], frame[name] = 0.0, other / long.frames
        elif frame[name] < 0:
            run[name], frame[name] = one / short.runs, 0.0
    return Costs(run, frame)


def frames_of(short: Spent, long: Spent, seconds: float) -> float:
    """How many a run of the plan has, if they come at this interval after its first second."""
    a_second = (long.frames / long.runs - short.frames / short.runs) * RATE / (LONG - SHORT)
    first = short.frames / short.runs - a_second * (SHORT / RATE - 1)
    return first + (TURN_TOKENS / RATE - 1) / seconds


class Plan:
    """What `STREAMS` at a time need.

    Args:
        short: what the measured runs of `SHORT` tokens took.
        long: likewise of `LONG` tokens.
        interval: the time between frames; None: what the server's clock has for so many streams.
    """

    def __init__(self, short: Spent, long: Spent, interval: float | None = None) -> None:
        self._costs = fitted(short, long)
        self._runs = STREAMS * RATE / TURN_TOKENS  # a second
        for self._processes in itertools.count(1):
            self.interval = interval or frame_seconds(STREAMS // self._processes)
            self._frames = self._runs * frames_of(short, long, self.interval)
            if self._each_second("server_cpu") <= BUSY * self._processes:
                break

    def _each_second(self, name: str) -> float:
        return self._runs * self._costs.run[name] + self._frames * self._costs.frame[name]

    def rows(self) -> Iterator[tuple[str, str]]:
        """Each need, and how much of it."""
        processes = self._processes
        redis = math.ceil(self._each_second("redis_cpu") / BUSY)
        yield "runs begun a second", f"{self._runs:,.0f}"
        yield "frames a second", f"{self._frames:,.0f}"
        yield f"server processes, each at most {BUSY:.0%} busy", f"{processes:,}"
        yield "streams of one process", f"{STREAMS / processes:,.0f}"
        yield "connections to PostgreSQL, 50 a process at most", f"{50 * processes:,}"
        yield "connections to Redis, where readers are at their runs", f"{10 * processes:,}"
        yield "Redis, MB a second", f"{self._each_second('redis_bytes') / 1e6:,.0f}"
        yield f"Redis servers, one core each, at most {BUSY:.0%} busy", f"{redis:,}"
        yield "PostgreSQL, commits a second", f"{self._each_second('commits'):,.0f}"
        yield "PostgreSQL, processor cores", f"{self._each_second('postgres_cpu'):.1f}"


def tables(rates: dict[int, float], short: Spent, long: Spent) -> str:
    """All of it, as Markdown."""
    base = rates[1]
    lines = ["| processes | tokens a second, busy | of one process's |", "|---:|---:|---:|"]
    lines += [f"| {n} | {rate:,.0f} | {rate / base:.2f} |" for n, rate in rates.items()]
    costs = fitted(short, long)
    lines += ["", "| cost | of a run | of a frame |", "|---|---:|---:|"]
    units = {"server_cpu": ("server CPU, ms", 1e3), "postgres_cpu": ("PostgreSQL CPU, ms", 1e3),
             "redis_cpu": ("Redis CPU, ms", 1e3), "redis_bytes": ("through Redis, bytes", 1),
             "commits": ("commits", 1)}  # fmt: skip
    for name, (words, factor) in units.items():
        run, frame = factor * costs.run[name], factor * costs.frame[name]
        lines.append(f"| {words} | {run:,.2f} | {frame:,.3f} |")
    plans = [Plan(short, long), Plan(short, long, LONGEST_FRAME_SECONDS)]
    paces = [f"a frame every {1000 * plan.interval:.0f} ms" for plan in plans]
    asked = f"{STREAMS:,} streams, {RATE} tokens/s each, {TURN_TOKENS} an answer"
    lines += ["", f"| {asked} | {paces[0]}, by the clock | {paces[1]}, at its slowest |"]
    lines += ["|---|---:|---:|"]
    needs = zip(*(plan.rows() for plan in plans), strict=True)
    lines += [f"| {what} | {clock} | {slowest} |" for (what, clock), (_, slowest) in needs]
    return "\n".join(lines)


async def _main(rounds: int, tokens: int, seconds: float) -> tuple[dict[int, float], Spent, Spent]:
    with scripted_model() as model:
        url = f"{model.url}/v1"
        return await busiest(url, rounds, tokens), *await paced(url, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a short one, which writes nothing")
    quick = parser.parse_args().quick
    if reason := not_possible():
        sys.exit(reason)
    measured = _main(1, 2_000, 3.0) if quick else _main(ROUNDS, BUSY_TOKENS, SECONDS)
    rates, short, long = asyncio.run(measured)
    text = tables(rates, short, long)
    print(text)
    if quick:
        return
    readme = ROOT / "agent/scale/README.md"
    pattern = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
    readme.write_text(pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", readme.read_text()))
    if (times := rates[2] / rates[1]) < GOAL:
        sys.exit(f"Two processes gave {times:.2f} times the tokens of one: the goal is {GOAL}.")


if __name__ == "__main__":
    main()
