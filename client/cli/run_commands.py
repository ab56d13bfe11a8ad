"""The commands that start, join, continue or stop runs."""

from typing import Any

import click

from ..events import JSON
from .options import (
    at_url,
    in_json,
    in_modes,
    json_list,
    json_object,
    on_run,
    on_thread,
    question_from,
    served,
    with_context,
    with_multitask_strategy,
    with_own_assistant,
)


@click.command()
@click.argument("question", required=False)
@on_run
@on_thread
@with_multitask_strategy
@with_context
@click.option("--checkpoint-id", help="Continue from this earlier state of the thread.")
@click.option("--replaces", help="Say this instead of the thread's message with this id.")
@click.option(
    "--input",
    "state",
    type=json_object,
    metavar="JSON",
    help="What the graph is given instead of a QUESTION: its state's values.",
)
@served
async def run(
    agent: Any, question: str | None, state: JSON | None, as_json: bool, **options: Any
) -> int:
    """Ask QUESTION once, and stream the run; without it, or with `-`, stdin is the question."""
    from .conversation import show_and_decide

    if state is not None and question is not None:
        raise click.UsageError("Give a QUESTION or --input, not both.")
    stream = agent.stream(question_from(question) if state is None else state, **options)
    return await show_and_decide(stream, as_json)


@click.command()
@click.argument("thread_id")
@click.argument("run_id", required=False)
@click.option("--after", "last_event_id", help="Only what came after this event.")
@at_url
@in_json
@served
async def join(
    agent: Any, thread_id: str, run_id: str | None, last_event_id: str | None, as_json: bool
) -> int:
    """Show a run that was started elsewhere or earlier; unset: the thread's last."""
    from ..errors import NotFound
    from .conversation import show_and_decide

    if run_id is None:
        if not (runs := await agent.runs.list(thread_id, limit=1)):
            raise NotFound("The thread has no run that could be joined.")
        run_id = runs[0]["run_id"]
    joined = agent.runs.join(thread_id, run_id, last_event_id)
    return await show_and_decide(joined, as_json)


@click.command()
@click.argument("thread_id")
@on_run
@with_context
@served
async def regenerate(agent: Any, thread_id: str, as_json: bool, **options: Any) -> int:
    """Answer a thread's last question anew."""
    from .conversation import show_and_decide

    stream = agent.regenerate(thread_id, **options)
    return await show_and_decide(stream, as_json)


@click.command()
@click.argument("thread_id")
@on_run
@with_context
@served
async def continue_run(agent: Any, thread_id: str, as_json: bool, **options: Any) -> int:
    """Continue a thread's run that its server left unfinished."""
    from .conversation import show_and_decide

    stream = agent.continue_run(thread_id, **options)
    return await show_and_decide(stream, as_json)


@click.command()
@click.argument("thread_id")
@click.option(
    "--decisions",
    type=json_list,
    metavar="JSON",
    help="One for each request, as a JSON list; unset: you are asked.",
)
@on_run
@with_context
@served
async def decide(
    agent: Any, thread_id: str, decisions: list[JSON] | None, as_json: bool, **options: Any
) -> int:
    """Decide what waits for a person on a thread, and stream the rest of the run."""
    from .conversation import decide_waiting

    return await decide_waiting(agent, thread_id, decisions, as_json, **options)


@click.command()
@click.argument("thread_id")
@click.option(
    "--answers",
    type=json_object,
    required=True,
    metavar="JSON",
    help="By each interrupt's id, what the graph goes on with: any JSON value.",
)
@on_run
@with_context
@served
async def resume(agent: Any, thread_id: str, answers: JSON, as_json: bool, **options: Any) -> int:
    """Answer whatever a thread's run waits for, and stream the rest of it."""
    from .conversation import show_and_decide

    return await show_and_decide(agent.resume(thread_id, answers, **options), as_json)


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
@with_own_assistant
@at_url
@with_multitask_strategy
@with_context
@served
async def chat(agent: Any, thread_id: str | None, **options: Any) -> int:
    """Talk in many turns on one thread; /help tells what there is."""
    from .conversation import Chat

    return await Chat(agent, **options).talk(thread_id)
