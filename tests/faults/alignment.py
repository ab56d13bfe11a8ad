"""Counts what is missing from a text and what is in it too often. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """How many tokens of the truth are missing before the last one that came (`lost`) and after it
    (`cut_off`), and how many came that the truth does not have there (`doubled`)."""

    lost: int = 0
    cut_off: int = 0
    doubled: int = 0

    def __add__(self, other: "Difference") -> "Difference":
        return Difference(
            self.lost + other.lost, self.cut_off + other.cut_off, self.doubled + other.doubled
        )


def units(text: str, tokens: Sequence[str]) -> list[str]:
    """Splits text into `tokens`, and what is none of them into characters."""
    known = sorted({*tokens} - {""}, key=len, reverse=True)
    return re.findall("|".join([*map(re.escape, known), "(?s:.)"]), text)


def difference(truth: Sequence[str], got: str) -> Difference:
    """Aligns what was got with the truth, whose tokens are given."""
    whole = "".join(truth)
    if whole == got:
        return Difference()
    return _aligned(units(whole, truth), units(got, truth))


def _aligned(truth: Sequence[str], got: Sequence[str]) -> Difference:
    common = _common(truth, got)
    needed = common.index(common[-1])
    return Difference(
        lost=needed - common[-1], cut_off=len(truth) - needed, doubled=len(got) - common[-1]
    )


def _common(truth: Sequence[str], got: Sequence[str]) -> list[int]:
    """For each number of the truth's first tokens, how many of them `got` has, in order."""
    row = [0] * (len(truth) + 1)
    for token in got:
        before = 0
        for at, wanted in enumerate(truth, 1):
            above = row[at]
            row[at] = before + 1 if token == wanted else max(above, row[at - 1])
            before = above
    return row
