"""Counts what is missing from a text and what is in it too often. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


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
    lost = cut_off = doubled = 0
    matcher = SequenceMatcher(None, truth, got, autojunk=False)
    for kind, first, last, begin, end in matcher.get_opcodes():
        if kind == "equal":
            continue
        if last == len(truth) and begin == end == len(got):
            cut_off += last - first
        else:
            lost += last - first
            doubled += end - begin
    return Difference(lost, cut_off, doubled)
