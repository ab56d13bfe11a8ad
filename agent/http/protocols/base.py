"""What all protocols share: a run is started or joined, told as it goes on or whole, and stopped.

Each is a run of this server on a thread, as the user: the same client, rules and limits as those of
the other routes. A protocol brings a `Translation` of the run's events, which does no I/O.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from agent.http.runs import HEAD_SECONDS, await_first
from agent.http.sse import EventStream, event_bytes
from agent.settings import Settings
from client import (
    AgentEvent,
    InvalidRequest,
    ModelFailed,
    NotFound,
    Run,
    RunFailed,
    RunTimedOut,
    SteadyError,
    ToolFailed,
)
from client.errors import RUN_CONTINUES

Frames = Iterator[BaseModel | str]
T = TypeVar("T", bound="Translation")
NIL = str(UUID(int=0))  # for a run that is not known yet
_TASKS = set[asyncio.Task[Any]]()


class RunRef(NamedTuple):
    """One run of a thread."""

    thread_id: str
    run_id: str


class Translation(Protocol):
    """A run's events as a protocol tells them. Each method gives the frames to be sent, if any."""

    def begin(self, event: AgentEvent) -> Frames:
        """The run is there; `event` is its first, and is read after this. Raises SteadyError."""

    def read(self, event: AgentEvent) -> Frames:
        """Takes the run's next event."""

    def fail(self, error: SteadyError, *, is_final: bool) -> Frames:
        """The run has failed (`is_final`), or the stream has and the run may go on."""


def as_json(value: BaseModel) -> str:
    """What was set of it, as JSON."""
    try:
        return value.model_dump_json(exclude_unset=True)
    except ValueError:  # half of a surrogate pair, which JSON text can escape
        return json.dumps(value.model_dump(mode="python", exclude_unset=True))


class RunStream(Generic[T]):
    """The frames of a run.

    Args:
        run: the run, which is not read yet.
        translate: makes the translation of the run on this thread with this id.
        forget: is awaited when the stream has ended or was left. None, the default: nothing is.
    """

    def __init__(
        self,
        run: Run,
        translate: Callable[[str, str], T],
        forget: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._run, self._translate, self._forget = run, translate, forget
        self._made: T | None = None

    @property
    def translation(self) -> T:
        """What was made of the run so far."""
        if self._made is None:
            self._made = self._translate(self._run.thread_id or NIL, self._run.run_id or NIL)
        return self._made

    async def response(
        self, config: Settings, name_of: Callable[[BaseModel | str], str | None]
    ) -> Response:
        """The frames as they come, as a response. Raises SteadyError if the run cannot be had.

        Args:
            config: has the limits.
            name_of: the name under which a frame is sent; None for none.
        """

        def written(frame: BaseModel | str) -> bytes:
            text = frame if isinstance(frame, str) else as_json(frame)
            return event_bytes(text.encode(), name=name_of(frame))

        frames = await await_first(self._frames(tells_errors=True), HEAD_SECONDS)
        return EventStream(frames, self._failure, config, written)

    async def begin(self) -> None:
        """Returns when the server has the run, which goes on. Raises SteadyError."""
        async with self._run as run:
            await anext(run)

    async def read(self, request: Request | None = None, *, tells_errors: bool = False) -> None:
        """Reads the run to its end, or until whoever made the `request` leaves.

        Raises SteadyError: what the run has failed with, unless the translation `tells_errors`.
        """
        reading = asyncio.create_task(self._read_all(tells_errors))
        leaving = asyncio.create_task(_left(request))
        try:
            await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise InvalidRequest("Whoever asked has left.")
            reading.result()
        finally:
            reading.cancel()
            leaving.cancel()

    async def _read_all(self, tells_errors: bool) -> None:
        async with aclosing(self._frames(tells_errors)) as frames:
            async for _ in frames:
                pass

    async def _frames(self, tells_errors: bool) -> AsyncGenerator[BaseModel | str]:
        """Raises SteadyError: what is wrong before the run is known, or all that is wrong."""
        is_known = False
        try:
            async with self._run as run:
                async for event in run:
                    if not is_known:
                        begun = [*self.translation.begin(event)]
                        is_known = True
                        for frame in begun:
                            yield frame
                    for frame in self.translation.read(event):
                        yield frame
        except SteadyError as error:
            if not is_known or not tells_errors:
                raise
            for frame in self._failure(error):
                yield frame
        finally:
            if self._forget is not None:
                _finish(self._forget())

    def _failure(self, error: SteadyError) -> list[BaseModel | str]:
        return list(self.translation.fail(error, is_final=has_run_failed(error)))


def has_run_failed(error: SteadyError) -> bool:
    """Whether the error is the end of the run; else it is of the stream, and the run may go on."""
    if isinstance(error, RunTimedOut):
        return RUN_CONTINUES not in error.message
    return isinstance(error, ModelFailed | ToolFailed | RunFailed)


async def _left(request: Request | None) -> None:
    """Returns when whoever made the request has left; where there is none, never."""
    if request is None:
        await asyncio.Event().wait()
    elif (await request.receive())["type"] != "http.disconnect":
        await _left(request)


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Does it to its end, whatever becomes of the request."""

    async def done() -> None:
        with suppress(SteadyError):
            await work

    task = asyncio.create_task(done())
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)


def created_at(run_id: str) -> int:
    """When a run was made, in seconds since 1970: its id has the time in it (UUIDv7).

    0 where the server gives its runs other ids.
    """
    run = UUID(run_id)
    return (run.int >> 80) // 1000 if run.version == 7 else 0


def joined_id(prefix: str, *ids: str) -> str:
    """One id, of several UUIDs, as a protocol writes ids."""
    return prefix + "".join(UUID(each).hex for each in ids)


def run_of(prefix: str, text: str) -> RunRef:
    """The run in an id that `joined_id` made of its thread and its own. Raises NotFound."""
    digits = text.removeprefix(prefix)
    try:
        return RunRef(str(UUID(digits[:32])), str(UUID(digits[32:])))
    except ValueError:
        raise _not_an_id(text) from None


def thread_of(prefix: str, text: str) -> str:
    """The thread in an id that `joined_id` made of its own, or in its own. Raises NotFound."""
    try:
        return str(UUID(text.removeprefix(prefix)))
    except ValueError:
        raise _not_an_id(text) from None


def _not_an_id(text: str) -> NotFound:
    return NotFound(f"There is no {text!r} here: it is no id that this server gave.")
