"""The outcomes as a table, one row for each kind of fault. Pure."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.outcome import Outcome

COLUMNS = (
    "streams",
    "faults done",
    "complete",
    "error told",
    "lost tokens",
    "doubled tokens",
    "silent ends",
    "wrong",
)
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """A row for each kind, in order of its name, and their sum."""
    kinds = sorted({outcome.scenario.kind for outcome in outcomes})
    by_kind = [[o for o in outcomes if o.scenario.kind == kind] for kind in kinds]
    named = zip(kinds, by_kind, strict=True)
    return [row(kind, those) for kind, those in named] + [row("all", outcomes)]


def row(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """`error told` counts right errors only; `wrong` the streams that no other column tells of."""
    verdicts = [outcome.verdict for outcome in outcomes]
    told = ("complete", "told", "lost or doubled", "silent end")
    figures = (
        len(outcomes),
        sum(len(outcome.faults) for outcome in outcomes),
        verdicts.count("complete"),
        verdicts.count("told"),
        sum(outcome.lost for outcome in outcomes),
        sum(outcome.doubled for outcome in outcomes),
        verdicts.count("silent end"),
        sum(verdict not in told for verdict in verdicts),
    )
    return [name, *map(str, figures)]


def text(head: str, body: Iterable[list[str]]) -> str:
    """For a terminal."""
    lines = [[head, *COLUMNS], *body]
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    )


def markdown(head: str, body: Iterable[list[str]]) -> str:
    """For a page."""
    rule = ["---", *["---:"] * len(COLUMNS)]
    lines = [[head, *COLUMNS], rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_into(page: Path, table: str) -> None:
    """Replaces what stands between the page's two markers."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
