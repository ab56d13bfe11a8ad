"""The figures as Markdown tables, and their place in the README. Pure but for `write`."""

import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.contestants import OURS
from tests.bench.held import Capacity
from tests.bench.measure import Cost, Series
from tests.bench.pace import Pace
from tests.bench.resumes import Resume
from tests.bench.threads import Grown

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
STOCK = "stock"
INSIDE = "ours in process"
OWN_CODE = "its own code, timed alone"


@dataclass
class Results:
    """All that was measured; a name is missing where its contestant failed."""

    first_texts_ms: Series = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    paces: dict[int, dict[str, Pace]] = field(default_factory=dict)
    telemetry: Series = field(default_factory=dict)
    capacities: dict[str, Capacity] = field(default_factory=dict)
    inside: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    clients_us: Series = field(default_factory=dict)
    starts_seconds: Series = field(default_factory=dict)
    cold_seconds: list[float] = field(default_factory=list)
    slow_reader: tuple[float, bool] | None = None
    deaf_reader_kb: float | None = None
    growth: dict[str, Grown] = field(default_factory=dict)
    resume: Resume | None = None
    stops_ms: list[float] = field(default_factory=list)
    seconds: float = 0.0


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, and in brackets the smallest and largest."""
    if not values:
        return "failed"
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def tables(results: Results) -> str:
    """Everything, in Markdown."""
    parts = [
        _one_stream(results),
        *(_paced(streams, paces) for streams, paces in results.paces.items()),
        _telemetry(results),
        _many(results),
        _threads(results),
        _rest(results),
        _goals(results),
    ]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    told = f"`make bench`, {machine}, {results.seconds / 60:.0f} minutes; medians (min-max)."
    return "\n\n".join([told, *parts])


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---", *["---:"] * (len(head) - 1)])
    lines = [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def added_ms(results: Results, name: str) -> list[float]:
    """First texts over the model's own, in milliseconds."""
    own = results.first_texts_ms.get("the model itself", [])
    firsts = results.first_texts_ms.get(name) or results.inside.get(name, {}).get("first_text_ms")
    return [first - statistics.median(own) for first in firsts or ()] if own else []


def _one_stream(results: Results) -> str:
    rows = []
    for name, figures in results.inside.items():
        rate = f"{statistics.median(figures['tokens_per_second']):.0f}"
        added = spread(added_ms(results, name), 1)
        rows.append([name, added, spread(figures["cpu_us"], 1), "", rate])
    for name, cost in results.costs.items():
        added = spread(added_ms(results, name), 1) if name != "the model itself" else ""
        weight, rate = f"{cost.bytes_per_token:.1f}", f"{cost.tokens_per_second:.0f}"
        rows.append([name, added, spread(cost.cpu_us, 1), weight, rate])
    head = [
        "one stream",
        "first token, ms added",
        "server CPU, us/token",
        "bytes/token",
        "tokens/s",
    ]
    return _rows(head, rows)


def _paced(streams: int, paces: dict[str, Pace]) -> str:
    rows = []
    first = next(iter(paces.values()), Pace())
    stock = next((pace for name, pace in paces.items() if name.startswith("stock")), Pace())
    for name, pace in paces.items():
        gaps = [spread(gap) for gap in (pace.gap_ms, pace.gap_p99_ms)]
        ratios = _ratio(pace.stream_ms, first.stream_ms), _ratio(pace.run_ms, stock.run_ms)
        costs = spread(pace.stream_ms, 1), ratios[0], spread(pace.run_ms, 1), ratios[1]
        rows.append([name, *costs, *gaps, f"{pace.bytes_per_token:.0f}"])
    head = [
        f"{streams} streams of 50 tokens/s",
        "CPU ms/stream-second",
        "of the tutorial's",
        "CPU ms/short run",
        "of stock's",
        "median gap, ms",
        "p99 gap",
        "bytes/token",
    ]
    return _rows(head, rows)


def _telemetry(results: Results) -> str:
    rows = [[name, spread(ms, 2)] for name, ms in results.telemetry.items()]
    rows.append([f"{OWN_CODE}, % of a stream without", spread(_telemetry_share(results), 2)])
    return _rows(["telemetry, `/chat/stream`, 50 tokens/s", "CPU ms/stream-second"], rows)


def _telemetry_share(results: Results) -> list[float]:
    """What its own code adds to a stream's CPU, in percent; a value a round."""
    stream = statistics.median(results.telemetry.get("off") or [0.0])
    return [100 * ms / stream for ms in results.telemetry.get(OWN_CODE, ()) if stream]


def _ratio(values: Sequence[float], of: Sequence[float]) -> str:
    whole = statistics.median(of) if of else 0.0
    return f"{statistics.median(values) / whole:.2f}" if values and whole else ""


def _cells(cost: Cost | None) -> tuple[str, str]:
    return (spread(cost.cpu_us, 1), f"{cost.bytes_per_token:.1f}") if cost else ("failed", "")


def _many(results: Results) -> str:
    rows = []
    for name, found in results.capacities.items():
        gaps = ", ".join(f"{n}: {gap:.0f}" for n, gap in found.gap_p99_ms.items())
        rows.append([name, str(found.streams), gaps, f"{found.bytes_per_stream / 1024:.0f}"])
    head = ["50 tokens/s each", "streams held", "p99 gap by streams, ms", "kB memory/stream"]
    return _rows(head, rows)


def _threads(results: Results) -> str:
    rows = [
        [name, f"{it.megabytes:.1f}", f"{it.early_ms:.0f}", f"{it.late_ms:.0f}", f"{it.ratio:.2f}"]
        for name, it in results.growth.items()
    ]
    head = [
        "a thread of 400 turns of 1 kB, SQLite",
        "MB on disk",
        "CPU ms, turn 10",
        "turn 400",
        "ratio, in pairs",
    ]
    return _rows(head, rows)


def _rest(results: Results) -> str:
    rows = [[f"{name}: CPU s", spread(v, 2)] for name, v in results.starts_seconds.items()]
    rows.append(["cold start of the server, until it answers: s", spread(results.cold_seconds, 1)])
    rows.append(["client CPU, stock SDK on our server: us/token", _client(results, "sdk")])
    rows.append(["client CPU, AgentClient on our server: us/token", _client(results, "steady")])
    if results.slow_reader:
        grown, is_whole = results.slow_reader
        told = f"{grown:.1f}, text {'complete' if is_whole else 'NOT complete'}"
        rows.append(["memory growth of a client that reads 10 events/s: MB", told])
    if results.deaf_reader_kb is not None:
        told = f"{results.deaf_reader_kb:.0f}"
        rows.append(["server memory for a reader of `/chat/stream` who takes nothing: kB", told])
    if it := results.resume:
        for where, kilobytes, ms in (
            ("from its beginning", it.whole_kb, it.whole_ms),
            ("after its last token", it.end_kb, it.end_ms),
        ):
            told = f"{kilobytes:.1f}, {ms:.1f}"
            rows.append([f"a long run joined {where}: kB, server CPU ms", told])
    return _rows(["start and client", "figure"], rows)


def _client(results: Results, kind: str) -> str:
    return spread(results.clients_us.get(kind, []), 1)


def _goals(results: Results) -> str:
    ours, stock = results.costs.get(OURS), results.costs.get(STOCK)
    on, off = (
        results.inside.get(name, {}).get("first_text_ms", [])
        for name in (INSIDE, f"{INSIDE}, frames off")
    )
    held = results.capacities.get(OURS)
    held_stock = results.capacities.get("stock")
    inside = [
        results.inside.get(name, {}).get("cpu_us", []) for name in ("LangGraph in process", INSIDE)
    ]
    added = [added_ms(results, name) for name in (STOCK, OURS)]
    streams = [str(c.streams) if c else "failed" for c in (held_stock, held)]
    growth = [
        [results.growth[name] for name in names if name in results.growth]
        for names in (["LangGraph in process"], [INSIDE, OURS])
    ]
    sizes = [f"{max(it.megabytes for it in found):.1f}" if found else "failed" for found in growth]
    ratios = [f"{max(it.ratio for it in found):.1f}" if found else "failed" for found in growth]
    rows: list[list[str]] = [
        ["server CPU, us/token", _cells(stock)[0], _cells(ours)[0], "30"],
        ["bytes/token", _cells(stock)[1], _cells(ours)[1], "12"],
        ["first token added, ms", spread(added[0]), spread(added[1], 1), "25"],
        ["in process, us/token", spread(inside[0]), spread(inside[1], 1), "35"],
        ["streams held", *streams, "150"],
        ["400 turns in SQLite, MB: the larger of ours", *sizes, "12"],
        ["CPU of turn 400 over turn 10: the larger of ours", *ratios, "2"],
        ["stop to the model's connection closed, ms", "", spread(results.stops_ms), "200"],
        ["a long run joined after its last token, kB", "", _kilobytes(results.resume), "5"],
        ["telemetry, % of a stream's CPU", "", spread(_telemetry_share(results), 2), "1"],
        ["first token in process, ms: frames off, on", spread(off, 1), spread(on, 1), "the same"],
    ]
    return _rows(["goal", "stock", "ours", "goal is"], rows)


def _kilobytes(resume: Resume | None) -> str:
    return f"{resume.end_kb:.1f}" if resume else "failed"


def write(told: str, readme: Path) -> None:
    """Puts the tables between the marks in the README."""
    page = readme.read_text(encoding="utf-8")
    between = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    readme.write_text(between.sub(lambda _: f"{BEGIN}\n{told}\n{END}", page), encoding="utf-8")
