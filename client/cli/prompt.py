"""Reading a person's messages: with line editing and history in a terminal, else by lines."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from .connection import ctrl_c_leaves
from .output import notes

_WORDS = "you> "


class Prompt:
    """Reads one message after another from stdin. The history is a file of this user alone."""

    def __init__(self) -> None:
        self._session = _session() if sys.stdin.isatty() and notes.is_terminal else None

    async def read(self) -> str:
        """The next message, of one or more lines. Raises EOFError where there is none."""
        if self._session is not None:
            return str(await self._session.prompt_async(_WORDS))
        with ctrl_c_leaves():
            text = notes.input(_WORDS)
            while text.endswith("\\"):
                text = f"{text[:-1]}\n{notes.input()}"
        return text


def _session() -> Any:
    # imported where there is a terminal: it takes a tenth of a second
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import create_output

    os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")  # not all terminals answer its question
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    path = _history_file()
    return PromptSession(
        history=FileHistory(str(path)) if path else InMemoryHistory(),
        key_bindings=keys,
        output=create_output(stdout=sys.stderr),
    )


def _history_file() -> Path | None:
    """Where messages are kept between conversations, readable by this user alone."""
    path = Path(click.get_app_dir("steady")) / "history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError:  # no home, or one that cannot be written
        return None
    return path
