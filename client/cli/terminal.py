"""What `steady` does with a server: find or start one, show a run, hold a conversation."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.status import Status

from ..client import AgentClient
from ..errors import CannotConnect, InvalidRequest, NotFound, SteadyError
from ..events import JSON, AgentEvent, Mode, to_json
from ..run import Run
from .approve import ask_person, can_be_asked
from .local_server import LocalServer
from .screen import Screen

EXIT_STOPPED = 130

_console = Console()
_notes = Console(stderr=True)


async def with_client(url: str | None, work: Callable[[AgentClient], Awaitable[int]]) -> int:
    """Does `work` with the server at `url`, or with a local one that lives as long as it takes."""
    if url is not None:
        async with AgentClient(url) as agent:
            return await work(agent)
    with ExitStack() as stack:
        with Status("Starting a local server…", console=_notes), _ctrl_c_leaves():
            server = stack.enter_context(LocalServer())
        async with AgentClient(server.url) as agent:
            return await work(agent)


@contextmanager
def _ctrl_c_leaves() -> Iterator[None]:
    """asyncio's own handler waits for the loop, which waits here for a person or a process."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def show_run(run: Run, as_json: bool, console: Console = _console) -> int:
    """Streams a run to the terminal; the exit code says how it ended.

    Ctrl-C stops the run, which keeps what it has said; a second one leaves at once.
    """
    screen = Screen(console)
    emit: Callable[[AgentEvent], None] = _print_json if as_json else screen.show
    try:
        async with run, _stopped_by_person(run):
            async for event in run:
                emit(event)
    except CannotConnect:
        raise
    except SteadyError as error:
        for event in run.failure(error):
            emit(event)
        return 1
    if not as_json:
        console.print(f"[dim]thread {run.thread_id}[/]", highlight=False)
    return EXIT_STOPPED if run.done and run.done.status == "stopped" else 0


@asynccontextmanager
async def _stopped_by_person(run: Run) -> AsyncIterator[None]:
    loop, stops = asyncio.get_running_loop(), list[asyncio.Task[None]]()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stops.append(loop.create_task(run.stop()))

    with suppress(NotImplementedError):  # Windows: Ctrl-C leaves, and the run goes on
        loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
        await asyncio.gather(*stops)
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


def _print_json(event: AgentEvent) -> None:
    sys.stdout.write(json.dumps(to_json(event), ensure_ascii=False) + "\n")
    sys.stdout.flush()


async def chat_turns(agent: AgentClient, thread_id: str | None, **asking: Any) -> int:
    """Asks for one message after another until there is none; a failed turn does not end it.

    What waits for a decision is asked for first, however long it has waited. `asking` are options
    of `AgentClient.stream`.
    """
    thread_id = thread_id or await agent.threads.create()
    _console.print(f"[dim]thread {thread_id}; an empty line ends the conversation[/]")
    decide = partial(
        agent.decide, thread_id, modes=asking["modes"], assistant_id=asking["assistant_id"]
    )
    with suppress(EOFError):
        while True:
            while waiting := list(filter(can_be_asked, await agent.threads.interrupts(thread_id))):
                with _ctrl_c_leaves():
                    decisions = ask_person(_console, waiting[0])
                await show_run(decide(waiting[0].id, decisions), False)
            with _ctrl_c_leaves():
                message = _console.input("[bold green]you[/] ")
            if not message.strip():
                break
            await show_run(agent.stream(message, thread_id=thread_id, **asking), False)
    return 0


async def decide_waiting(
    agent: AgentClient, thread_id: str, decisions: list[JSON] | None, as_json: bool, **asking: Any
) -> int:
    """Decides what waits on the thread, or has the person do it, and shows the rest of the run."""
    waiting = await agent.threads.interrupts(thread_id)
    if not waiting:
        raise NotFound("Nothing on the thread waits for a decision.")
    if decisions is None:
        if not can_be_asked(waiting[0]):
            raise InvalidRequest("The request is none of a tool's: give --decisions.")
        with _ctrl_c_leaves():
            decisions = ask_person(_notes if as_json else _console, waiting[0])
    return await show_run(agent.decide(thread_id, waiting[0].id, decisions, **asking), as_json)


DEMO: dict[Mode, str] = {
    "messages": "What is 17 * 23?",
    "updates": "Name a fruit.",
    "values": "Say hello in five words.",
    "events": "Name one colour.",
}


async def show_modes(agent: AgentClient, picture: str | None = None) -> int:
    """One short question in each stream mode; 1 if any of the runs failed.

    `picture` names an SVG file that what was shown is saved to.
    """
    console = Console(record=True, width=100) if picture else _console
    _notes.print(
        "[dim]The first answer of a new install waits while the embedded model warms up.[/]"
    )
    worst = 0
    for mode, question in DEMO.items():
        console.rule(f"[bold]{mode}[/]: {question}", align="left")
        run = agent.stream(question, modes=(mode,))
        worst = max(worst, await show_run(run, False, console))
    if picture:
        _save_picture(console, Path(picture))
    return worst


def _save_picture(console: Console, path: Path) -> None:
    drawn = console.export_svg(title="make demo")
    own = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)  # loads no font from afar
    path.write_text(own, encoding="utf-8")
