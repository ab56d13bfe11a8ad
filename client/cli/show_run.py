"""One run in the terminal: its events as they come, Ctrl-C to stop it, an exit code at its end."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from rich.console import Console

from ..errors import CannotConnect, SteadyError
from ..events import AgentEvent, to_json
from ..run import Run
from .screen import Screen, out

EXIT_STOPPED = 130


async def show_run(run: Run, as_json: bool, console: Console = out) -> int:
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
