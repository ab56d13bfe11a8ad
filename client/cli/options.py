"""What the commands of `steady` share: their options, and the client that they work with."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar, get_args
from urllib.parse import urlsplit

import click

from ..events import JSON, Mode

F = TypeVar("F", bound=Callable[..., Any])
MODES: tuple[Mode, ...] = get_args(Mode)
STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")


class WholeHelp(click.Group):
    """A group whose list of commands has their first sentences whole, over several lines."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, command.get_short_help_str(limit=1000))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def server_url(text: str) -> str:
    """A server's URL; `127.0.0.1:2024` is taken for `http://127.0.0.1:2024`."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number, or half an IPv6 address
        is_right = False
    if not is_right or any(c.isspace() or not c.isprintable() for c in url):
        raise click.BadParameter(
            f"{text!r} is no server's URL; one looks like http://127.0.0.1:2024."
        )
    return url


def json_list(text: str) -> list[Any]:
    """A JSON list."""
    found = _json(text)
    if not isinstance(found, list):
        raise click.BadParameter(f"{text!r} is no JSON list.")
    return found


def json_object(text: str) -> JSON:
    """A JSON object."""
    found = _json(text)
    if not isinstance(found, dict):
        raise click.BadParameter(f"{text!r} is no JSON object.")
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not JSON: {error}.") from error


at_url = click.option(
    "--url",
    type=server_url,
    metavar="URL",
    envvar="LANGGRAPH_URL",
    help="A LangGraph server; unset: a local one is started.",
)
with_assistant = click.option(
    "--assistant-id", default="agent", show_default=True, help="A graph's name, or an id."
)
with_own_assistant = click.option(
    "--assistant-id", help="A graph's name, or an id; unset: the thread's own, or agent."
)
in_modes = click.option(
    "--mode",
    "modes",
    multiple=True,
    default=("messages",),
    show_default=True,
    type=click.Choice(MODES),
    metavar="MODE",
    help=f"Stream mode: {', '.join(MODES)}; may be repeated.",
)
in_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
with_multitask_strategy = click.option(
    "--multitask-strategy",
    default="reject",
    show_default=True,
    type=click.Choice(STRATEGIES),
    metavar="STRATEGY",
    help=f"When the thread is busy with another run: {', '.join(STRATEGIES)}.",
)
on_thread = click.option("--thread-id", help="Continue this thread; unset: a new one.")


def on_run(command: F) -> F:
    """The options of every command that shows a run."""
    return in_modes(with_own_assistant(at_url(in_json(command))))


def with_context(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options for what a run may choose for itself; the command gets them as one `context`."""

    @click.option("--model", help="The model's name.")
    @click.option("--temperature", type=click.FloatRange(0, 2), help="0 (steady) to 2 (wild).")
    @click.option("--system", "system_prompt", help="Instructions instead of the agent's own.")
    @click.option(
        "--context", type=json_object, metavar="JSON", help="More of the graph's context, as JSON."
    )
    @wraps(command)
    def run(
        model: str | None,
        temperature: float | None,
        system_prompt: str | None,
        context: JSON | None,
        **options: Any,
    ) -> Any:
        chosen = {"model": model, "temperature": temperature, "system_prompt": system_prompt}
        given = {name: value for name, value in chosen.items() if value is not None}
        return command(context={**(context or {}), **given} or None, **options)

    return run


def question_from(argument: str | None) -> str:
    """The question: the argument, or stdin where that is `-` or a pipe and there is no argument."""
    if argument not in (None, "-"):
        return str(argument)
    if argument is None and sys.stdin.isatty():
        raise click.UsageError("Give a QUESTION, or `-` to read it from stdin.")
    try:
        return sys.stdin.buffer.read().decode().strip()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"What stdin gives is not UTF-8 text: {error.reason}.") from error


def served(command: Callable[..., Coroutine[Any, Any, int]]) -> Callable[..., None]:
    """Runs an async command with an AgentClient of `--url`, or of a local server for its length."""

    @wraps(command)
    def run(url: str | None, **options: Any) -> None:
        from .connection import with_client  # rich and httpx: not needed for --help

        sys.exit(asyncio.run(with_client(url, lambda agent: command(agent, **options))))

    return run
