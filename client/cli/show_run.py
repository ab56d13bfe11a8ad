"""One run in the terminal: its events as they come, Ctrl-C to stop it, an exit code at its end."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from ..errors import CannotConnect, SteadyError
from ..events import AgentEvent, to_json
from ..run import Run
from . import exit_codes
from .output import notes, write_json, write_line
from .screen import Screen


async def show_run(run: Run, as_json: bool, screen: Screen | None = None) -> int:
    """Streams a run to the terminal; the exit code says how it ended.

    Ctrl-C stops the run, which keeps what it has said; a second one leaves at once. Raises
    CannotConnect where no server was there.
    """
    with screen or Screen() as screen:
        emit: Callable[[AgentEvent], None] = (
            (lambda event: write_json(to_json(event))) if as_json else screen.show
        )
        try:
            async with run, _stopped_by_person(run):
                async for event in run:
                    emit(event)
        except CannotConnect:
            raise
        except SteadyError as error:
            for event in run.failure(error):
                emit(event)
            write_ids(error.thread_id, error.run_id)
            return exit_codes.FAILED
    if not as_json:
        write_line(f"thread {run.thread_id}  run {run.run_id}", notes, "dim")
    status = run.done.status if run.done else "success"
    return {
        "stopped": exit_codes.INTERRUPTED,
        "interrupted": exit_codes.WAITS_FOR_DECISION,
    }.get(status, exit_codes.OK)


def write_ids(thread_id: str | None, run_id: str | None) -> None:
    """Says on stderr which thread and run a failure is about, and how to see it again."""
    if thread_id and run_id:
        write_line(f"thread {thread_id}  run {run_id}", notes)
        write_line(f"to see it again: steady join {thread_id} {run_id}", notes)
    elif thread_id:
        write_line(f"thread {thread_id}", notes)


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
