"""What the commands of `steady` share: their options, and the client that they work with."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

import click

from ..events import Mode

F = TypeVar("F", bound=Callable[..., Any])
MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")

at_url = click.option(
    "--url", envvar="LANGGRAPH_URL", help="A LangGraph server; unset: start one here."
)
with_assistant = click.option("--assistant-id", default="agent", show_default=True)
in_modes = click.option(
    "--mode",
    "modes",
    multiple=True,
    default=("messages",),
    show_default=True,
    type=click.Choice(MODES),
    help="Stream mode; may be repeated.",
)
in_json = click.option("--json", "as_json", is_flag=True, help="One event a line, as JSON.")
with_multitask_strategy = click.option(
    "--multitask-strategy",
    default="reject",
    show_default=True,
    type=click.Choice(["reject", "enqueue", "interrupt", "rollback"]),
    help="When the thread is busy with another run.",
)
on_thread = click.option("--thread-id", help="Continue this thread; unset: a new one.")


def on_run(command: F) -> F:
    """The options of every command that shows a run."""
    return in_modes(with_assistant(at_url(in_json(command))))


def served(command: Callable[..., Coroutine[Any, Any, int]]) -> Callable[..., None]:
    """Runs an async command with an AgentClient of `--url`, or of a local server for its length."""

    @wraps(command)
    def run(url: str | None, **options: Any) -> None:
        from .connection import with_client  # rich and httpx: not needed for --help

        sys.exit(asyncio.run(with_client(url, lambda agent: command(agent, **options))))

    return run
