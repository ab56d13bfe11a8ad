"""What befalls a run beside its network: this client and the thread streams (v3) of both SDKs.

Stops, model failures, a second reader, approvals, a killed server, and what a token costs. One
ruler for all: what a person has before him at the end, against what the thread holds.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import count, islice

import psutil

from client.cli.local_server import LocalServer
from tests.faults.contestants import Contestant, JavaScript, Reading, python_v3, steadystream
from tests.faults.model_wire import ModelWire
from tests.faults.outcome import Outcome
from tests.faults.plan import NetFault, Plan
from tests.faults.proxy import Proxy
from tests.faults.scenarios import Scenario, scenario
from tests.faults.series import CONCURRENCY, run_all
from tests.faults.stock import HANG_SECONDS, judge_contestant
from tests.faults.truth import Server
from tests.model_script import Reply

STOP, MODEL, JOIN, JOIN_LATER, APPROVAL = (
    "stopped by its reader",
    "the model or its network fails",
    "another reader comes in the middle",
    "the same, after four turns",
    "a call is approved",
)
KILLED, RESTARTED = "server killed, for good", "server killed, restarted"
_WORDS = {
    "complete": "complete",
    "told": "error told",
    "silent end": "cut short",
    "lost or doubled": "lost or doubled",
    "left standing": "left standing",
    "hang": "hangs",
}
_DIES_AFTER_SECONDS = 1.0  # of the three that an answer takes

Start = Callable[[ModelWire], AbstractContextManager[LocalServer]]
Found = dict[str, list[Outcome]]  # by the client's name


def rivals(javascript: JavaScript) -> dict[str, Contestant]:
    """This client, and those that read over v3."""
    return {
        "steadystream": steadystream,
        "Python SDK, v3": python_v3,
        "JS SDK, v3": javascript.reads("v3"),
    }


def scenarios(what: str, seeds: range) -> list[Scenario]:
    """As many scenarios of a kind as there are seeds."""
    if what == STOP:
        return [_slow(seed, what, stops_after=1 + 3 * (seed % 5)) for seed in seeds]
    if what in (JOIN, JOIN_LATER):
        turns = 4 * (what == JOIN_LATER)
        leaves = ((2 + 3 * (seed % 5),) for seed in seeds)
        return [
            _slow(seed, what, leaves=at, earlier_turns=turns)
            for seed, at in zip(seeds, leaves, strict=True)
        ]
    if what == MODEL:
        drawn = (it for it in map(scenario, count()) if it.kind.startswith("model"))
        fitting = (it for it in drawn if not (it.approvals or it.leaves))
    else:
        drawn = (scenario(seed, model_faults=False) for seed in count())
        fitting = (it for it in drawn if it.approvals and not (it.leaves or it.allowed))
    return list(islice(fitting, seeds.start, seeds.stop))


def _slow(seed: int, what: str, **more: object) -> Scenario:
    """An answer of three seconds; that of every second seed is cut on its way."""
    rng = random.Random(f"{what} {seed}")
    words = tuple(f"{' ' if number else ''}word{number}" for number in range(150))
    kind = rng.choice(["rst", "fin", "end", "end_mid"])
    cut = NetFault(kind, rng.randrange(1000, 9000))  # type: ignore[arg-type]
    plan = Plan(streams=(cut,) if seed % 2 else (), seed=seed)
    reply = Reply(words, tokens_per_second=50.0)
    made = Scenario(seed, what, ("messages",), f"{what} {seed}", (reply,), plan)
    return replace(made, **more)  # type: ignore[arg-type]


async def read_all(what: str, seeds: range, server: Server, wire: ModelWire) -> Found:
    """The outcomes of each client in the scenarios of a kind."""
    async with JavaScript() as javascript:
        found = Found()
        for name, read in rivals(javascript).items():
            found[name] = await run_all(
                scenarios(what, seeds),
                lambda made, name=name, read=read: judge_contestant(  # type: ignore[misc]
                    made, server, wire, name, read
                ),
                concurrency=CONCURRENCY,
            )
    return found


async def read_to_death(what: str, readers: int, running: LocalServer, wire: ModelWire) -> Found:
    """The outcomes of some readers of each client, whose server is killed below all of them."""
    asked = replace(_slow(0, what), reconnect_seconds=2.0 if what == KILLED else 40.0, plan=Plan())
    before = len(wire.model.requests)
    async with (
        asyncio.timeout(3 * HANG_SECONDS),
        JavaScript() as javascript,
        Server(running.url) as server,
        asyncio.TaskGroup() as tasks,
    ):
        reading = {
            name: [
                tasks.create_task(judge_contestant(asked, server, wire, f"{name} {number}", read))
                for number in range(readers)
            ]
            for name, read in rivals(javascript).items()
        }
        while len(wire.model.requests) < before + readers * len(reading):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(_DIES_AFTER_SECONDS)
        await asyncio.to_thread(running.kill)
        if what == RESTARTED:
            await asyncio.to_thread(running.start)
        await asyncio.wait([task for those in reading.values() for task in those])
    return {name: [task.result() for task in those] for name, those in reading.items()}


@dataclass(frozen=True)
class Cost:
    """What a token costs: the server's CPU in microseconds, and the bytes of the responses."""

    cpu_us: float
    wire_bytes: float

    def __str__(self) -> str:
        return f"{self.cpu_us:,.0f} us, {self.wire_bytes:,.0f} B"


async def costs(running: LocalServer, *, tokens: int, rate: int, readers: int) -> dict[str, Cost]:
    """Each client's cost; `rate` is in tokens a second, 0 as fast as the model can."""
    question = f"stream {tokens} tokens" + (f" at {rate} per second" if rate else "")
    asked = Scenario(0, "cost", ("messages",), question, (), Plan())
    assert running.process
    process = psutil.Process(running.process.pid)
    found = dict[str, Cost]()
    async with JavaScript() as javascript, Server(running.url) as server:
        for name, read in rivals(javascript).items():
            async with Proxy(running.url, Plan()) as proxy:
                threads = [await server.new_thread() for _ in range(readers)]
                before = _cpu_seconds(process)
                await asyncio.gather(*(read(asked, proxy.url, at, Reading()) for at in threads))
                spent = _cpu_seconds(process) - before
            all_tokens = tokens * readers
            found[name] = Cost(1e6 * spent / all_tokens, proxy.body_bytes / all_tokens)
    return found


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def in_words(outcomes: Sequence[Outcome]) -> str:
    """How often each verdict was given, as a cell of the table."""
    counts = Counter(_WORDS.get(outcome.verdict, "wrong") for outcome in outcomes)
    order = [*_WORDS.values(), "wrong"]
    return ", ".join(f"{counts[word]} {word}" for word in order if counts[word])


def cost_rows(running: LocalServer, name: str) -> Iterator[list[str]]:
    """A row for 50 tokens a second, and one for a model at full speed."""
    for what, tokens, rate, readers in (("50 tokens/s", 400, 50, 5), ("full speed", 4000, 0, 3)):
        asyncio.run(costs(running, tokens=50, rate=0, readers=1))  # warms up
        found = asyncio.run(costs(running, tokens=tokens, rate=rate, readers=readers))
        yield [f"a token at {what}, {name}", *map(str, found.values())]


async def _read(what: str, seeds: range, url: str, wire: ModelWire) -> Found:
    async with Server(url) as server:
        return await read_all(what, seeds, server, wire)


def rows(start: Start, name: str, wire: ModelWire, n: int) -> Iterator[tuple[list[str], Found]]:
    """The rows of one server, with the outcomes that are behind them."""
    with start(wire) as running:
        for what in (STOP, MODEL, JOIN, JOIN_LATER, APPROVAL):
            found = asyncio.run(_read(what, range(n), running.url, wire))
            yield [f"{what}, {name}", *map(in_words, found.values())], found
        for cells in cost_rows(running, name):
            yield cells, {}
    for what in (KILLED, RESTARTED):
        with start(wire) as running:
            found = asyncio.run(read_to_death(what, max(n // 4, 1), running, wire))
            yield [f"{what}, {name}", *map(in_words, found.values())], found
