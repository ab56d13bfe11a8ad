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
BEGIN, END = "<!-- {0}: begin -->", "<!-- {0}: end -->"


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


def markdown(tables: dict[str, Sequence[Outcome]]) -> str:
    """For a page: the first one's rows in full, and beside them the rest's, of fewer streams."""
    first, *others = tables
    head = ["fault", *COLUMNS]
    lines = rows(tables[first])
    for name in others:
        theirs = {row[0]: dict(zip(COLUMNS, row[1:], strict=True)) for row in rows(tables[name])}
        head.append(f"{name}: lost, doubled, silent ends")
        for line in lines:
            line.append(_beside(theirs.get(line[0])))
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def _beside(row: dict[str, str] | None) -> str:
    if row is None:
        return ""
    told = ", ".join(row[column] for column in ("lost tokens", "doubled tokens", "silent ends"))
    return f"{told} of {row['streams']}"


def put_into(page: Path, mark: str, table: str) -> None:
    """Replaces what stands between the page's two marks of that name."""
    begin, end = BEGIN.format(mark), END.format(mark)
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")
