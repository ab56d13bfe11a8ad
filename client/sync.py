"""The client for scripts and notebooks without `asyncio`: the same, over an event loop of its own.

with SyncAgentClient("http://127.0.0.1:2024") as agent:
    print(agent.ask("What is 6 x 7?"))
    for event in agent.stream("And 6 x 8?"):
        print(event)
"""

import asyncio
import inspect
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import wraps
from typing import Any, Self, TypeVar, cast
from weakref import WeakSet

from .answer import Answer
from .client import AgentClient
from .errors import InvalidRequest, SteadyError
from .events import AgentEvent
from .memories import Memories
from .run import Run
from .run_input import Input
from .runs import Runs
from .threads import Threads

STOP_SECONDS = 30.0  # how long an interrupted run may take to end in order

T = TypeVar("T")


class SyncAgentClient:
    """`AgentClient` for code that is not asynchronous: the same methods, results and errors.

    Its requests run on an event loop in a thread of its own, so that it works where a loop runs
    already, as in a notebook, and from several threads at once. Ctrl-C stops the runs that are
    being read, and keeps their partial answers.

    Args:
        options: those of `AgentClient`.

    Every method of `AgentClient`, and of its `threads`, `runs` and `memories`, is here under the
    same name, without `await`. What returns a `Run` there returns a `SyncRun`.

    Raises:
        SteadyError: as `AgentClient` does.

    Example::

        with SyncAgentClient() as agent:
            answer = agent.ask("What is 6 x 7?")
            print(answer, answer.tool_calls, answer.usage)
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._loop = _Loop()
        self._runs: WeakSet[SyncRun] = WeakSet()
        try:
            self._client = self._loop.wait(_made(AgentClient, *args, **options))
        except BaseException:
            self._loop.close()
            raise

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _sync(getattr(self._client, name), self, self._loop.wait)

    def ask(self, input: Input, **options: Any) -> Answer:
        """Runs a graph to its end, and returns what it answered: see `AgentClient.ask`.

        Args:
            input: a text, content blocks, messages, a state, or None: see `AgentClient.stream`.
            options: those of `stream`.

        Returns:
            The answer.

        Raises:
            SteadyError: what `stream`, or the reading of its run, raises.
        """
        with self.stream(input, **options) as run:
            return cast(Answer, run.answer())

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(n for n in dir(self._client) if not n.startswith("_"))]

    def close(self) -> None:
        """Ends what is still being read, the connections and the thread."""
        if self._loop.is_open:
            with suppress(SteadyError):
                for run in list(self._runs):
                    run.close()
            self._loop.wait(self._client.__aexit__())
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            for run in list(self._runs):
                run._interrupted()
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


class SyncRun:
    """`Run` for code that is not asynchronous: a context manager and an iterator of events.

    Every method and attribute of `Run` is here under the same name, without `await`. Leaving it
    early closes the connection and lets the run continue at the server, unless `on_disconnect` is
    `cancel`; Ctrl-C stops the run, whose `text()` and `done` can still be asked for.

    Raises (while it is iterated):
        SteadyError: as `Run` does.
    """

    def __init__(self, run: Run, client: SyncAgentClient) -> None:
        self._run = run
        self._client = client
        self._pending: Future[Any] | None = None
        client._runs.add(self)

    def __iter__(self) -> Iterator[AgentEvent]:
        aiter(self._run)
        return self

    def __next__(self) -> AgentEvent:
        event = self._wait(_next(self._run))
        if event is None:
            raise StopIteration
        return event

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _sync(getattr(self._run, name), self._client, self._wait)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(n for n in dir(self._run) if not n.startswith("_"))]

    def close(self) -> None:
        """Ends the reading; see `Run` for what becomes of the run."""
        self._client._runs.discard(self)
        self._client._loop.wait(self._run.__aexit__())

    def __enter__(self) -> Self:
        self._wait(self._run.__aenter__())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            self._interrupted()
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        pending = self._client._loop.begin(work)
        self._pending = pending
        try:
            return pending.result()
        except KeyboardInterrupt:
            self._interrupted()
            raise

    def _interrupted(self) -> None:
        """Ctrl-C: stops the run, and reads what it comes to."""
        if self._run.done is None:
            with suppress(SteadyError, TimeoutError):
                stopping = _stopped(self._run, self._pending)
                self._client._loop.wait(asyncio.wait_for(stopping, STOP_SECONDS))


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="steadystream", daemon=True
        )
        self._thread.start()

    @property
    def is_open(self) -> bool:
        return not self._loop.is_closed()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Raises InvalidRequest if the loop is closed, or it is the one that asks."""
        is_ending = sys.is_finalizing()  # the loop's thread is gone: nobody would answer
        if not self.is_open or is_ending or threading.current_thread() is self._thread:
            work.close()
            raise InvalidRequest("This client is closed: make another one.")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises; it is cancelled where the wait is interrupted."""
        future = self.begin(work)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def close(self) -> None:
        self.wait(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _sync(value: Any, client: SyncAgentClient, wait: Callable[[Any], Any]) -> Any:
    """The value, or what does for synchronous code as it does."""
    if isinstance(value, Run):
        return SyncRun(value, client)
    if inspect.iscoroutine(value):
        return _sync(wait(value), client, wait)
    if isinstance(value, Threads | Runs | Memories):
        return _Sync(value, client)
    if inspect.isasyncgen(value):
        return _iterated(cast(AsyncGenerator[Any], value), wait)
    if inspect.ismethod(value):
        return _called(value, client, wait)
    return value


class _Sync:
    """Threads, runs or memories, for synchronous code."""

    def __init__(self, of: Any, client: SyncAgentClient) -> None:
        self._of = of
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return _sync(getattr(self._of, name), self._client, self._client._loop.wait)


def _called(
    method: Callable[..., Any], client: SyncAgentClient, wait: Callable[[Any], Any]
) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _sync(method(*args, **kwargs), client, wait)

    return call


def _iterated(events: AsyncGenerator[T], wait: Callable[[Any], Any]) -> Iterator[T]:
    try:
        while (event := wait(_next(events))) is not None:
            yield event
    finally:
        with suppress(SteadyError):
            wait(events.aclose())


async def _made(kind: Callable[..., T], *args: Any, **options: Any) -> T:
    return kind(*args, **options)


async def _next(events: AsyncIterator[T]) -> T | None:
    return await anext(events, None)


async def _stopped(run: Run, pending: Future[Any] | None) -> None:
    await run.stop()
    if pending is not None:
        await asyncio.wrap_future(pending)  # it was reading: one reader at a time
    while run.done is None:
        await anext(run, None)
