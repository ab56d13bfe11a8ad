"""A server that is stopped tells every open stream so before it goes.

SIGTERM: new runs are refused, running ones may end within `STEADY_SHUTDOWN_SECONDS`; then each
open stream gets an `unavailable` error and its `done`, and the server stops. SIGINT, from a person
at the keyboard, does not wait for runs; neither does a second signal.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog

from agent.access.ownership import unfinished_runs
from agent.access.quota import is_shutting_down
from agent.middleware import stoppable_graph
from client import Unavailable

log = structlog.stdlib.get_logger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_SECONDS = 0.1
_FAREWELL_SECONDS = 2.0  # for all streams to take their last events


def stopping() -> Unavailable:
    """The error that ends the streams of a server that stops."""
    return Unavailable("The server is stopping. The run may go on: join it again in a moment.")


class OpenStream:
    """A stream whose task is woken by the server's end, where it waits for the next event."""

    def __init__(self, task: asyncio.Task[Any] | None, is_busy: Callable[[], bool]) -> None:
        self._task = task
        self.is_busy = is_busy
        self.is_waiting = True  # else its last event is being sent, and must not be cut
        self.is_stopped = False
        self.ended = asyncio.Event()

    def stop(self) -> None:
        """Ends the wait; the stream itself looks at `is_stopped` after each event."""
        self.is_stopped = True
        if self.is_waiting and self._task is not None:
            self._task.cancel()

    def was_woken(self) -> bool:
        """Whether the CancelledError that was raised came from here; then it is used up."""
        if self.is_stopped and self._task is not None:
            self._task.uncancel()
        return self.is_stopped


_open = set[OpenStream]()

# `agent.scale` puts its own in place of these two.
runs_here: Callable[[], Awaitable[int]] = unfinished_runs


def take_no_more_jobs() -> None:
    """Leaves runs that have not begun to other processes; alone, there is no other."""


@contextmanager
def open_stream(is_busy: Callable[[], bool] = lambda: True) -> Iterator[OpenStream]:
    """Counts the present task's stream among those that are told.

    `is_busy` says whether an answer is on its way in it, which may still be sent to its end.
    """
    stream = OpenStream(asyncio.current_task(), is_busy)
    _open.add(stream)
    try:
        yield stream
    finally:
        stream.ended.set()
        _open.discard(stream)


@contextmanager
def graceful(limit_seconds: float) -> Iterator[None]:
    """Takes SIGINT and SIGTERM before the server does, while the context is open."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    loop, second = asyncio.get_running_loop(), asyncio.Event()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    tasks = list[asyncio.Task[None]]()

    async def stop(number: int) -> None:
        is_shutting_down.set()
        take_no_more_jobs()
        if number == signal.SIGTERM:
            await _answers_end(limit_seconds, second)
        await _say_farewell()
        stoppable_graph.was_taken_over = lambda run_id: True  # the next server runs it again
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, None)

    def begin(number: int) -> None:
        if tasks:
            second.set()
        else:
            tasks.append(loop.create_task(stop(number)))

    for each in _SIGNALS:
        signal.signal(each, lambda number, frame: loop.call_soon_threadsafe(begin, number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


async def _answers_end(limit_seconds: float, second: asyncio.Event) -> None:
    """Returns when all answers are sent, the time has passed, or a second signal came."""
    if runs := await runs_here():
        await log.ainfo(f"Stopping: {runs} runs may end; a second signal ends the wait.")
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_seconds):
            while not second.is_set() and (await runs_here() or _is_any_busy()):
                with suppress(TimeoutError):
                    await asyncio.wait_for(second.wait(), _LOOK_SECONDS)


def _is_any_busy() -> bool:
    return any(stream.is_busy() for stream in _open)


async def _say_farewell() -> None:
    streams = list(_open)
    for stream in streams:
        stream.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(_FAREWELL_SECONDS):
            for stream in streams:
                await stream.ended.wait()
