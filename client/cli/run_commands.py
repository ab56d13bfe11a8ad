"""The commands that start, stop or continue runs."""

import json
from typing import Any

import click

from ..events import Mode
from .options import (
    at_url,
    in_modes,
    on_run,
    on_thread,
    served,
    with_assistant,
    with_multitask_strategy,
)


@click.command()
@click.argument("question")
@on_run
@on_thread
@with_multitask_strategy
@click.option("--checkpoint-id", help="Continue from this earlier state of the thread.")
@click.option("--replaces", help="Say this instead of the thread's message with this id.")
@served
async def run(
    agent: Any, question: str, modes: tuple[Mode, ...], thread_id: str | None, assistant_id: str,
    as_json: bool, multitask_strategy: str, checkpoint_id: str | None, replaces: str | None,
) -> int:  # fmt: skip
    """Ask QUESTION once, and stream the run."""
    from .show_run import show_run

    stream = agent.stream(
        question,
        thread_id=thread_id,
        modes=modes,
        assistant_id=assistant_id,
        multitask_strategy=multitask_strategy,
        checkpoint_id=checkpoint_id,
        replaces=replaces,
    )
    return await show_run(stream, as_json)


@click.command()
@click.argument("thread_id")
@on_run
@served
async def regenerate(
    agent: Any, thread_id: str, modes: tuple[Mode, ...], assistant_id: str, as_json: bool
) -> int:
    """Answer a thread's last question anew."""
    from .show_run import show_run

    stream = agent.regenerate(thread_id, modes=modes, assistant_id=assistant_id)
    return await show_run(stream, as_json)


@click.command()
@click.argument("thread_id")
@on_run
@served
async def continue_run(
    agent: Any, thread_id: str, modes: tuple[Mode, ...], assistant_id: str, as_json: bool
) -> int:
    """Continue a thread's run that its server left unfinished."""
    from .show_run import show_run

    stream = agent.continue_run(thread_id, modes=modes, assistant_id=assistant_id)
    return await show_run(stream, as_json)


@click.command()
@click.argument("thread_id")
@click.option("--decisions", help="One for each request, as a JSON list; unset: asks you.")
@on_run
@served
async def decide(
    agent: Any, thread_id: str, decisions: str | None, modes: tuple[Mode, ...], assistant_id: str,
    as_json: bool,
) -> int:  # fmt: skip
    """Decide what waits for a person on a thread, and stream the rest of the run."""
    from .conversation import decide_waiting

    return await decide_waiting(
        agent, thread_id, _json_list(decisions), as_json, modes=modes, assistant_id=assistant_id
    )


def _json_list(text: str | None) -> list[Any] | None:
    try:
        decisions = None if text is None else json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--decisions is not JSON: {error}") from error
    if decisions is not None and not isinstance(decisions, list):
        raise click.UsageError("--decisions must be a JSON list.")
    return decisions


@click.command()
@click.argument("thread_id")
@at_url
@served
async def stop(agent: Any, thread_id: str) -> int:
    """Stop what runs on a thread; what was said stays in it."""
    click.echo(f"Stopped {await agent.runs.stop(thread_id)}.")
    return 0


@click.command()
@in_modes
@on_thread
@with_assistant
@at_url
@with_multitask_strategy
@served
async def chat(
    agent: Any,
    modes: tuple[Mode, ...],
    thread_id: str | None,
    assistant_id: str,
    multitask_strategy: str,
) -> int:
    """Talk in many turns on one thread; an empty line or Ctrl-D ends it."""
    from .conversation import chat_turns

    return await chat_turns(
        agent,
        thread_id,
        modes=modes,
        assistant_id=assistant_id,
        multitask_strategy=multitask_strategy,
    )
