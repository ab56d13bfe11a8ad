"""An answer that grows, as Markdown in a terminal: finished blocks stay, the last is redrawn."""

import re

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


class MarkdownStream:
    """Prints each block once it is complete; the incomplete one is drawn anew as it grows."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = ""
        self._live: Live | None = None
        self._has_block = False

    def add(self, text: str) -> None:
        """Shows more of the answer."""
        self._rest += text
        end = end_of_blocks(self._rest)
        finished, self._rest = self._rest[:end], self._rest[end:]
        if finished.strip():
            self._print(finished)
        if self._rest.strip():
            self._draw()

    def finish(self) -> None:
        """The message is complete: its last block is printed for good."""
        rest, self._rest = self._rest, ""
        if rest.strip():
            self._print(rest)
        self._clear()
        self._has_block = False

    def _print(self, block: str) -> None:
        self._clear()
        if self._has_block:
            self._console.print()
        self._has_block = True
        self._console.print(_Block(block), end="")

    def _draw(self) -> None:
        if self._live is None:
            self._live = Live(console=self._console, transient=True, refresh_per_second=12)
            self._live.start()
        # no more lines than the terminal can clear again
        self._live.update(_Block(self._rest, max(1, self._console.height - 2)))

    def _clear(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _Block:
    """Markdown without blank lines around it; of a long one, where `most` is set, the end."""

    def __init__(self, text: str, most: int | None = None) -> None:
        # a link's address is shown, not hidden behind its words
        self._markdown = Markdown(text, hyperlinks=False)
        self._most = most

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._markdown, options.update(height=None), pad=False)
        while lines and _is_blank(lines[0]):
            del lines[0]
        while lines and _is_blank(lines[-1]):
            del lines[-1]
        for line in lines[-self._most :] if self._most else lines:
            _strip_padding(line)
            yield from line
            yield Segment.line()


def _is_blank(line: list[Segment]) -> bool:
    return not any(segment.text.strip() for segment in line)


def _strip_padding(line: list[Segment]) -> None:
    """Takes off the spaces that fill the width; a background's belong to what is shown."""
    while line and not (line[-1].style and line[-1].style.bgcolor):
        last = line.pop()
        if text := last.text.rstrip(" "):
            line.append(Segment(text, last.style))
            return


def end_of_blocks(text: str) -> int:
    """Where the last complete block ends: after a blank line that is not inside a code fence."""
    fence, end, at = "", 0, 0
    for line in text.split("\n")[:-1]:
        at += len(line) + 1
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
        elif not line.strip() and not fence:
            end = at
    return end
