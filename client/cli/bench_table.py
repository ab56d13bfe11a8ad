"""`steady bench`: the figures of a server's streams, in a terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from ..client import AgentClient
from ..events import Mode
from .bench import Figures, Load, figures, percentile, under
from .output import out, write_line

_BARS = "▁▂▃▄▅▆▇█"
_BINS = 24
_HEADS = (
    "mode",
    "first text\np50",
    "\np99",
    "gap\np50",
    "\np99",
    "\nmax",
    "tokens\n/s",
    "bytes\n/token",
)


async def show_bench(
    agent: AgentClient, modes: Sequence[Mode], question: str, load: Load, assistant_id: str
) -> int:
    """Runs it in each mode and prints a table and a histogram; 1 if any run failed."""
    table = Table(title=f"{agent.url}: {load}; times in ms", title_justify="left", box=SIMPLE_HEAD)
    for head in _HEADS:
        table.add_column(head, justify="left" if head == "mode" else "right", no_wrap=True)
    found: dict[Mode, Figures] = {}
    for mode in modes:
        found[mode] = figures(await under(load, agent, mode, question, assistant_id))
        table.add_row(mode, *_cells(found[mode]))
    out.print(table)
    for mode, told in found.items():
        _show_rest(mode, told)
    return 1 if any(told.failed for told in found.values()) else 0


def _cells(told: Figures) -> list[str]:
    mark = "~" if told.is_estimated else ""
    return [
        _ms(percentile(told.first_text, 0.5)),
        _ms(percentile(told.first_text, 0.99)),
        _ms(percentile(told.gaps, 0.5)),
        _ms(percentile(told.gaps, 0.99)),
        _ms(percentile(told.gaps, 1.0)),
        f"{mark}{told.tokens_per_second:.0f}",
        f"{mark}{told.bytes_per_token:.1f}",
    ]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1000 * seconds:.0f}"


def _show_rest(mode: Mode, told: Figures) -> None:
    if told.gaps:
        longest = _ms(told.gaps[-1])
        out.print(f"{mode}: gaps between texts, 0 to {longest} ms: {histogram(told.gaps)}")
    if told.is_estimated:
        out.print(f"{mode}: ~ the model reports no usage; a token is taken as 4 characters.")
    if told.failed:
        out.print(f"[red]{mode}: {len(told.failed)} of {told.streams} runs failed:[/]")
        for reason in sorted(set(told.failed))[:3]:
            write_line(f"  {reason}")


def histogram(values: Sequence[float], bins: int = _BINS) -> str:
    """How often values fall into equal steps from 0 to the largest, as bars."""
    largest = max(values) or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(int(value / largest * bins), bins - 1)] += 1
    most = max(counts)
    return "".join(" " if not n else _BARS[round((len(_BARS) - 1) * n / most)] for n in counts)
