"""What `steady` writes: the answer to stdout, all else to stderr, and in both nothing but text."""

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment, Segments
from rich.text import Text

# C0 and C1 controls but line feed and tab; what reorders text; half of a surrogate pair
_NO_TEXT = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_RAW_IN_JSON = re.compile(r"[\x7f-\x9f]")


def plain(text: str) -> str:
    """The text with every control character made visible: a terminal must not obey it.

    Models, tools and servers can send escape sequences that write the clipboard, move the cursor
    or reorder text. Line feeds and tabs stay; a carriage return is left out.
    """
    return _NO_TEXT.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\r":
        return ""
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of them, such as ␛
    return "\ufffd" if code >= 0xD800 else f"<U+{code:04X}>"


class PlainConsole(Console):
    """A console whose own styles are the only escape sequences that it writes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


out = PlainConsole(highlight=False, emoji=False)
notes = PlainConsole(highlight=False, emoji=False, stderr=True)


def write_text(console: Console, text: str, style: str = "") -> None:
    """Writes text as it is: without markup, tabs kept, not broken where the terminal is narrow."""
    piece = Segment(text, console.get_style(style) if style else None)
    console.print(Segments([piece]), end="", soft_wrap=True)


def write_line(text: str, console: Console = out, style: str = "") -> None:
    """The same, with the line's end."""
    write_text(console, text, style)
    console.print()


def write_row(*cells: str) -> None:
    """Writes one line of a list, cut at the terminal's width; into a pipe it goes whole."""
    text = Text("  ".join(cells).rstrip())
    if out.is_terminal:
        text.truncate(out.width, overflow="ellipsis")
    out.print(text, soft_wrap=True)


def write_json(value: Any) -> None:
    """Writes a JSON line; what the output's encoding or a terminal may not be sent is escaped."""
    line = json.dumps(value, ensure_ascii=False, default=str)
    try:
        line.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        line = json.dumps(value, default=str)
    sys.stdout.write(_RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", line) + "\n")
    sys.stdout.flush()
