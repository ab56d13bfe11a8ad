"""Notes in a folder of the server."""

import re
import unicodedata
from pathlib import Path

from langchain_core.tools import ToolException, tool

from agent.settings import settings

_LONGEST_NAME = 80
_LONGEST_NAME_BYTES = 240  # a file system takes 255, and `-999.md` comes after it


@tool
def save_note(title: str, text: str) -> str:
    """Save a note as a Markdown file in the notes folder."""
    folder = settings().steady_notes_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    content = f"# {title}\n\n{text}\n".encode(errors="replace")  # of a lone surrogate
    path = _write_new(folder, _file_stem(title), content)
    return f"Saved as {path.name}."


def _file_stem(title: str) -> str:
    """Letters, digits and single hyphens only: no path separator, dot or control character."""
    plain = unicodedata.normalize("NFKC", title).lower()
    stem = re.sub(r"[\W_]+", "-", plain).strip("-")[:_LONGEST_NAME]
    stem = stem.encode()[:_LONGEST_NAME_BYTES].decode(errors="ignore").strip("-")
    if not stem:
        raise ToolException("The title needs at least one letter or digit.")
    return f"note-{stem}" if _RESERVED.fullmatch(stem) else stem


_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d")  # device names on Windows


def _write_new(folder: Path, stem: str, content: bytes) -> Path:
    """Never replaces a file or follows a link: `x` creates, or fails and the next name is tried."""
    for number in range(1, 1000):
        path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            with path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            continue
    raise ToolException(f"There are too many notes called {stem!r}.")
