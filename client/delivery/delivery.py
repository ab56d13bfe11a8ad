"""All parts of a run, each once and in order, over as many connections as it takes."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from langgraph_sdk.schema import CancelAction

from ..errors import (
    GO_ON,
    CannotConnect,
    Conflict,
    ConnectionLost,
    NotFound,
    RunLost,
    SteadyError,
    StreamLost,
)
from ..events import JSON
from ..limits import Deadlines, Limits
from ..reconnect import Reconnect
from .asked import Asked
from .cursor import Cursor
from .place import Place
from .wire import ACTIVE, REQUEST_KEY, Part, Parts, Wire

_LIFE_SECONDS = 1.0  # a connection with life in it for this long was a working one
_SETTLE_SECONDS = 5.0
_UNPROVED_PASSES = 4
_FEWEST_PASSES = 10  # where the machine is too busy for them within the seconds

_T = TypeVar("_T")
Fresh = list[tuple[Cursor | None, Part]]


class Delivery:
    """One run's stream: started with `body`, or joined by its `run_id`.

    `before_start` is done with the thread's id before each request to start it; it may still
    change the body, and gives the message after which the run's own will stand, where it knows.
    `asked` is what the run is asked for; of one that was started elsewhere the server tells it.
    `go_on`, where given, says what to start when the server has lost the run, from
    the thread's state, which is None where there is none; None is nothing: the run had ended.
    `was_read` says that an earlier reader has read of the run: if it is unknown, it was lost.

    A response that ended proves nothing. The stream is over when the server says that the run has
    ended, a join opened after that brings nothing new, and `is_whole` finds in the thread's state
    nothing that has not arrived; or when several joins, over some seconds, have brought nothing
    new. Then `status` is the run's at the server, `state` the thread's, and `is_proved` says
    whether the joins came to where the reader was.
    """

    def __init__(
        self,
        wire: Wire,
        limits: Limits,
        reconnect: Reconnect,
        thread_id: str,
        stored: frozenset[str],
        *,
        body: JSON | None = None,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        asked: Asked | None = None,
        before_start: Callable[[str], Awaitable[str | None]] | None = None,
        go_on: Callable[[JSON | None], JSON | None] | None = None,
        is_new_thread: bool = False,
        was_read: bool = False,
    ) -> None:
        self._wire = wire
        self._limits = limits
        self._reconnect = reconnect
        self.thread_id = thread_id
        self.run_id = run_id
        self.asked = asked or Asked()
        self.status = "pending"
        self.state: JSON = {}
        self.is_proved = False
        self.is_whole: Callable[[JSON], bool] = lambda state: True
        self._body = body or {}
        self._idempotency_key = idempotency_key or str(uuid.uuid4())
        self._may_be_known = idempotency_key is not None
        self._before_start = before_start
        self._go_on = go_on
        self._stored = stored
        self._is_new_thread = is_new_thread
        self._was_read = was_read
        self._to_end_with: CancelAction | None = None
        self._posts = 0
        self._place = Place(stored)
        self.deadlines = Deadlines(limits)
        self._quiet_passes = 0
        self._quiet_waits: Iterator[float] | None = None
        self._opened = self._alive = 0.0
        self._fresh_parts = 0

    @property
    def has_thread(self) -> bool:
        """Whether the thread is known to be there."""
        return not self._is_new_thread or self.run_id is not None

    async def parts(self) -> AsyncGenerator[Fresh]:
        """What arrived together and is new, with the stream's place after each part."""
        if self.run_id is not None:
            await self.patiently(self._learn)
        waits: Iterator[float] | None = None
        while True:
            ended_before, cause = self.status not in ACTIVE, None
            try:
                async with aclosing(self._connection()) as received:
                    async for fresh in received:
                        waits = None
                        yield fresh
                if self._place.is_unsure:
                    continue
                if await self._is_over(ended_before):
                    return
            except SteadyError as error:
                if self._go_on and self._is_lost(error):
                    if await self._is_started_again(self._go_on):
                        continue
                    return
                cause = self._transient(error)
            if cause is not None or self.status in ACTIVE:
                worked = self._alive - self._opened > _LIFE_SECONDS
                waits = self._delays(cause) if waits is None or worked else waits
                await self._wait(waits, cause)

    async def stop(self, action: CancelAction) -> None:
        """Cancels the run at the server: now, or as soon as the server has it."""
        self._to_end_with = action
        if self.run_id is None and self._posts:  # its answer may be on the way, or lost
            self.run_id = await self._wire.find(self.thread_id, self._idempotency_key)
        if self.run_id is not None:
            await self._wire.cancel(self.thread_id, self.run_id, action)
            self._to_end_with = None

    async def settle(self) -> str:
        """The run's status, once it has ended or some seconds have passed."""
        for wait_seconds in self._reconnect.delays(_SETTLE_SECONDS):
            with suppress(SteadyError):
                self.status = await self._ask_status()
            if self.status not in ACTIVE:
                break
            await asyncio.sleep(wait_seconds)
        return self.status

    async def patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """The answer to `ask`, tried again while what hinders it is transient."""
        waits: Iterator[float] | None = None
        while True:
            try:
                return await ask()
            except SteadyError as error:
                cause = self._transient(error)
            waits = waits or self._delays(cause)
            await self._wait(waits, cause)

    async def _connection(self) -> AsyncGenerator[Fresh]:
        self._fresh_parts, self._opened, self._alive = 0, 0.0, 0.0
        place = self._place
        async with self._open() as received:
            self._opened = self._alive = time.monotonic()
            await self._stop_if_asked()
            while (parts := await anext(received, None)) is not None:
                self._alive = time.monotonic()
                _check_known(parts)
                if self.run_id is None:
                    self.run_id = _run_id_in(parts)
                    await self._stop_if_asked()
                told = [part for part in parts if part.name != "end"]  # a status says it better
                fresh = [(place.cursor, part) for part in told if place.take(part)]
                if fresh:
                    self.deadlines.hear()
                    self._fresh_parts += sum(place.counts(part) for _, part in fresh)
                    yield fresh
                if place.is_unsure:
                    return

    async def _stop_if_asked(self) -> None:
        if self._to_end_with is not None:
            await self.stop(self._to_end_with)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Parts]:
        if self.run_id is None and (self._posts or self._may_be_known):  # was the run started?
            self.run_id = await self._wire.find(self.thread_id, self._idempotency_key)
            if self.run_id is not None and not self._posts:
                await self._learn()
        if self.run_id is None:
            if self._before_start and (since := await self._before_start(self.thread_id)):
                self.asked = replace(self.asked, since=since)
            self._posts += 1
            async with self._wire.start(self.thread_id, self._keyed_body()) as (run_id, parts):
                self.run_id = run_id
                yield parts
        else:
            last_event_id = self._place.rejoin()
            async with self._wire.join(self.thread_id, self.run_id, last_event_id) as parts:
                yield parts

    def _keyed_body(self) -> JSON:
        noted = {REQUEST_KEY: self._idempotency_key, **self.asked.notes(self._body)}
        return {**self._body, "metadata": noted, "config": {"metadata": noted}}

    async def _is_over(self, ended_before: bool) -> bool:
        if not ended_before:
            self.status = await self._ask_status()
            return False
        if self._fresh_parts:
            self._quiet_passes, self._quiet_waits = 0, None
            return False
        self.state = await self._wire.state(self.thread_id)
        self.is_proved = self._place.id is not None and self._place.is_passed
        self._quiet_passes += 1
        if self.is_whole(self.state):
            return self.is_proved or self._quiet_passes >= _UNPROVED_PASSES
        return not await self._is_another_try_due()

    async def _is_another_try_due(self) -> bool:
        self._quiet_waits = self._quiet_waits or self._reconnect.delays(_SETTLE_SECONDS)
        wait_seconds = next(self._quiet_waits, None)
        await asyncio.sleep(wait_seconds or 0)
        return wait_seconds is not None or self._quiet_passes < _FEWEST_PASSES

    async def _learn(self) -> None:
        run = await self._wire.run(self.thread_id, str(self.run_id))
        self.status, self.asked = str(run["status"]), Asked.of(run)

    async def _ask_status(self) -> str:
        return str((await self._wire.run(self.thread_id, str(self.run_id)))["status"])

    def _is_lost(self, error: SteadyError) -> bool:
        return isinstance(error, NotFound) and (self._was_read or self.deadlines.has_begun)

    async def _is_started_again(self, go_on: Callable[[JSON | None], JSON | None]) -> bool:
        """Whether there is a run in the lost one's place; else it had ended, and `state` is how."""
        state = await self.patiently(self._state_if_any)
        body = go_on(state)
        if body is None:
            self.state, self.status = state or {}, "success"
            return False
        self._body, self._before_start = body, None
        self.run_id, self._idempotency_key, self._posts = None, str(uuid.uuid4()), 0
        self._place, self.status = Place(self._stored), "pending"
        return True

    async def _state_if_any(self) -> JSON | None:
        try:
            return await self._wire.state(self.thread_id)
        except NotFound:
            return None

    def _transient(self, error: SteadyError) -> SteadyError:
        """The error, where trying again may help; else raises it."""
        if self._is_lost(error):
            raise RunLost.now() from error
        may_be_own = isinstance(error, Conflict) and self._posts > 1
        if not may_be_own and not self._reconnect.is_transient(error):
            raise error
        return error

    def _delays(self, cause: SteadyError | None) -> Iterator[float]:
        return self._reconnect.delays(self._patience_seconds(cause))

    def _patience_seconds(self, cause: SteadyError | None) -> float:
        first = isinstance(cause, CannotConnect) and self.run_id is None
        return self._limits.connect_seconds if first else self._limits.reconnect_seconds

    async def _wait(self, waits: Iterator[float], cause: SteadyError | None) -> None:
        asked_seconds = cause.retry_after_seconds if cause else 0.0
        seconds = next(waits, None)
        if seconds is None or asked_seconds > self._patience_seconds(cause):
            raise self._given_up(cause) from cause
        await asyncio.sleep(max(seconds, asked_seconds))

    def _given_up(self, cause: SteadyError | None) -> SteadyError:
        if self.run_id is None and cause is not None:
            return cause
        limit = f"{self._limits.reconnect_seconds:g} s"
        if cause is None:
            return StreamLost(f"The stream keeps ending early, for {limit} now. {GO_ON}")
        return ConnectionLost(
            f"The server did not come back within {limit}: {cause.message} {GO_ON}"
        )


def _check_known(parts: list[Part]) -> None:
    """A join of a run that the server does not know is answered with 200, and 404 inside."""
    for part in parts:
        if part.name == "error" and b"HTTPException" in part.raw:
            told = str(part.data.get("message"))
            if told.startswith("404"):
                raise NotFound(f"Not found: {told}")


def _run_id_in(parts: list[Part]) -> str | None:
    """For servers that do not name the run in the response's head."""
    return next((part.data.get("run_id") for part in parts if part.name == "metadata"), None)
