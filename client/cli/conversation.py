"""A conversation in the terminal, and the decisions that its runs wait for."""

from contextlib import suppress
from functools import partial
from typing import Any

from ..client import AgentClient
from ..errors import InvalidRequest, NotFound
from ..events import JSON
from .approve import ask_person, can_be_asked
from .connection import ctrl_c_leaves
from .screen import notes, out
from .show_run import show_run


async def chat_turns(agent: AgentClient, thread_id: str | None, **options: Any) -> int:
    """Asks for one message after another until there is none; a failed turn does not end it.

    What waits for a decision is asked for first, however long it has waited. `options` are
    those of `AgentClient.stream`.
    """
    thread_id = thread_id or await agent.threads.create()
    out.print(f"[dim]thread {thread_id}; an empty line ends the conversation[/]")
    decide = partial(
        agent.decide, thread_id, modes=options["modes"], assistant_id=options["assistant_id"]
    )
    with suppress(EOFError):
        while True:
            while waiting := list(filter(can_be_asked, await agent.threads.interrupts(thread_id))):
                with ctrl_c_leaves():
                    decisions = ask_person(out, waiting[0])
                await show_run(decide(waiting[0].id, decisions), False)
            with ctrl_c_leaves():
                message = out.input("[bold green]you[/] ")
            if not message.strip():
                break
            await show_run(agent.stream(message, thread_id=thread_id, **options), False)
    return 0


async def decide_waiting(
    agent: AgentClient, thread_id: str, decisions: list[JSON] | None, as_json: bool, **options: Any
) -> int:
    """Decides what waits on the thread, or has the person do it, and shows the rest of the run."""
    waiting = await agent.threads.interrupts(thread_id)
    if not waiting:
        raise NotFound("Nothing on the thread waits for a decision.")
    if decisions is None:
        if not can_be_asked(waiting[0]):
            raise InvalidRequest("The request is none of a tool's: give --decisions.")
        with ctrl_c_leaves():
            decisions = ask_person(notes if as_json else out, waiting[0])
    return await show_run(agent.decide(thread_id, waiting[0].id, decisions, **options), as_json)
