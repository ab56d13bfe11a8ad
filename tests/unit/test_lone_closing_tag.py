"""A closing tag of reasoning that was taken for the answer is found, however it is cut."""

import pytest

from agent.model.dialects.thinking import LoneClosingTag

LONG = "if a < b and c[0]: " * 500  # one line, with marks that a tag may begin with


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_it_is_found_behind_a_long_line(size: int) -> None:
    """The line before it may have any length, and come in pieces of any size."""
    text = f"{LONG}</think> So it is."
    finder = LoneClosingTag()
    assert any(finder.is_in(text[at : at + size]) for at in range(0, len(text), size))


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_it_is_text_in_a_code_block_that_begins_with_a_long_line(size: int) -> None:
    """Somebody writes about the tags: the answer is no reasoning."""
    text = f"```{LONG}\n</think>\n```\nDone."
    finder = LoneClosingTag()
    assert not any(finder.is_in(text[at : at + size]) for at in range(0, len(text), size))
