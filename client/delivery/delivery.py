"""All parts of a run, each once and in order, over as many connections as it takes."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace

from langgraph_sdk.schema import CancelAction

from ..decoding.decoder import Decoder
from ..decoding.snapshot import CannotResume
from ..errors import (
    RUN_CONTINUES,
    CannotConnect,
    Conflict,
    ConnectionLost,
    NotFound,
    RunLost,
    SteadyError,
    StreamLost,
)
from ..events import JSON
from ..reconnect import Backoff
from ..state.decisions import waiting
from .cursor import Cursor, Origin
from .expectation import Expectation
from .position import Position
from .request import RunRequest
from .run_end import EndProof, RunEnd
from .wire import ACTIVE, Part, Parts, Wire, is_outline

_WORKING_SECONDS = 1.0  # a connection that brought anything for this long was a working one
_SETTLE_SECONDS = 5.0

Batch = list[tuple[Cursor | None, Part]]


@dataclass
class _Connection:
    """What one response has brought; times by the monotonic clock, in seconds."""

    opened_at: float = 0.0
    last_data_at: float = 0.0
    new_parts: int = 0
    tells_end: bool = False  # the server says, after all other parts, how the run has ended
    end_status: str | None = None  # what it said
    end_state: JSON | None = None  # of the thread, if it said that, too

    @property
    def has_worked(self) -> bool:
        return self.last_data_at - self.opened_at > _WORKING_SECONDS


class Delivery:
    """One run's stream: of a run that `request` starts, or of one that is joined by its `run_id`.

    Args:
        wire: the server.
        thread_id: the thread, which may not be there yet: see `has_thread`.
        stored: the names of the parts that the server keeps for replay.
        request: what starts the run; None for a run that is joined.
        run_id: the run to join; None for one that is started.
        was_read: whether an earlier reader has read of the run: if the server does not know it,
            it was lost.
    """

    def __init__(
        self,
        wire: Wire,
        thread_id: str,
        stored: frozenset[str],
        *,
        request: RunRequest | None = None,
        run_id: str | None = None,
        was_read: bool = False,
    ) -> None:
        self._wire = wire
        self._stored = stored
        self._was_read = was_read
        self.expectation = request.expectation if request else Expectation()
        self._cancel_action: CancelAction | None = None  # wanted, but the run is not known yet
        self.thread_id = thread_id
        self.end: RunEnd | None = None
        self.run: JSON = {}  # as the server tells it, of a run that was started elsewhere
        self._begin(request, run_id)

    def _begin(self, request: RunRequest | None, run_id: str | None = None) -> None:
        self._request = request
        self.run_id = run_id
        self._status = "pending"
        self._is_known = False  # whether `_status` and `_expectation` are the run's
        self._is_lost = False
        self.begin_at(None)

    def begin_at(self, origin: Origin | None) -> None:
        """The next parts are those after this origin; None: all of the run."""
        self.end = None
        self._position = Position(self._stored, origin)
        self._proof = EndProof(self._wire.reconnect.delays)

    @property
    def has_thread(self) -> bool:
        """Whether the thread is known to be there."""
        is_new = self._request is not None and self._request.creates_thread
        return not is_new or self.run_id is not None

    async def parts(self, decoder: Decoder) -> AsyncGenerator[Batch]:
        """What arrived together and is new: each part, with the stream's cursor after it.

        When it ends, `end` is how the run ended.

        Args:
            decoder: reads the parts. Where the run's state holds what it has not read, more joins
                are tried before the end is believed.

        Raises:
            SteadyError: the server's answer to the request, or why the stream cannot continue.
            CannotResume: the decoder began in the middle, and the whole run has to be read.
        """
        backoff = Backoff(self._wire.reconnect)
        while self.end is None:
            connection = _Connection()
            cause: SteadyError | None = None
            try:
                if self._is_lost:
                    await self._restart()
                    continue
                await self._locate()
                had_ended = self._has_ended
                async with aclosing(self._read(connection)) as batches:
                    async for batch in batches:
                        backoff.reset()
                        yield batch
                if self._position.is_unsure:
                    continue
                await self._check_end(connection, had_ended, decoder)
            except SteadyError as error:
                self._is_lost = isinstance(error, NotFound) and self._was_read
                if self._is_lost and self._request and self._request.restart_body:
                    continue
                if await self._has_a_twin(error):
                    continue
                cause = self._transient(error)
            if cause is not None or not self._has_ended:
                if connection.has_worked:
                    backoff.reset()
                await self._wait(backoff, cause)

    async def stop(self, action: CancelAction) -> None:
        """Cancels the run at the server: now, or as soon as the server has it."""
        self._cancel_action = action
        if self.run_id is None and self._request and self._request.attempts:
            # the answer to the request may be on the way, or lost
            self.run_id = await self._wire.find(self.thread_id, self._request.idempotency_key)
        if self.run_id is not None:
            await self._wire.cancel(self.thread_id, self.run_id, action)
            self._cancel_action = None

    async def settle(self) -> None:
        """Returns when the run has ended, and its thread is free; or after some seconds."""
        for wait_seconds in self._wire.reconnect.delays(_SETTLE_SECONDS):
            with suppress(SteadyError):
                self._status = await self._read_status()
            if self._has_ended:
                break
            await asyncio.sleep(wait_seconds)

    async def state(self) -> JSON | None:
        """The thread's state; None where there is no thread."""
        try:
            return await self._wire.state(self.thread_id)
        except NotFound:
            return None

    async def complete_end(self, end: RunEnd) -> RunEnd:
        """The end with its whole state, where it has an outline of it."""
        if not is_outline(end.state):
            return end
        checkpoint_id = str(end.state["checkpoint"]["checkpoint_id"])
        backoff = Backoff(self._wire.reconnect)
        while is_outline(end.state):
            try:
                state = await self._wire.state(self.thread_id, checkpoint_id)
                self.end = end = replace(end, state=state)
            except SteadyError as error:
                await self._wait(backoff, self._transient(error))
        return end

    @property
    def cursor(self) -> Cursor | None:
        """After the last part that was read."""
        return self._position.cursor

    @property
    def _has_ended(self) -> bool:
        return self._status not in ACTIVE

    async def _locate(self) -> None:
        """Asks the server for the run, where another reader or an earlier request started it."""
        request = self._request
        if request and self.run_id is None and request.may_have_arrived:
            self.run_id = await self._wire.find(self.thread_id, request.idempotency_key)
        if self.run_id is not None and not self._is_known:
            self.run = run = await self._wire.run(self.thread_id, self.run_id)
            self._status, self.expectation = str(run["status"]), Expectation.of_run(run)
            self._is_known = True

    async def _read(self, connection: _Connection) -> AsyncGenerator[Batch]:
        position = self._position
        async with self._open(connection) as received:
            connection.opened_at = connection.last_data_at = time.monotonic()
            await self._cancel_if_wanted()
            async for parts in received:
                connection.last_data_at = time.monotonic()
                _check_known(parts)
                if self.run_id is None:
                    self.run_id = _run_id_in(parts)
                    await self._cancel_if_wanted()
                batch: Batch = []
                for part in parts:
                    if part.name == "end":
                        connection.end_status, connection.end_state = _end_in(part)
                    elif position.take(part):
                        batch.append((position.cursor, part))
                if batch:
                    self._was_read = True
                    connection.new_parts += sum(position.is_counted(part) for _, part in batch)
                    yield batch
                if position.is_unsure:
                    return

    async def _cancel_if_wanted(self) -> None:
        if self._cancel_action is not None:
            await self.stop(self._cancel_action)

    @asynccontextmanager
    async def _open(self, connection: _Connection) -> AsyncIterator[Parts]:
        request = self._request
        if request and self.run_id is None:
            if request.prepare and (previous_id := await request.prepare(self.thread_id)):
                self.expectation = replace(self.expectation, previous_id=previous_id)
            request.attempts += 1
            self._is_known = True
            body = request.json(self.expectation)
            async with self._wire.start(self.thread_id, body) as (head, parts):
                self.run_id, connection.tells_end = head.run_id, head.tells_end
                if request.note_accepted:
                    request.note_accepted()
                yield parts
        else:
            last_event_id = self._position.rejoin()
            skip = None if self._proof.is_in_doubt else self._position.skip
            where = self.thread_id, str(self.run_id), last_event_id
            join = self._wire.join(*where, skip=skip, is_end_check=self._has_ended)
            async with join as (head, parts):
                connection.tells_end = head.tells_end
                if head.skipped:
                    self._position.note_skipped(head.skipped)
                yield parts

    async def _check_end(self, connection: _Connection, had_ended: bool, decoder: Decoder) -> None:
        """After a response has ended: sets `end` if that was the end of the run's stream."""
        if connection.end_status == "success":
            self._status = "success"
        elif not had_ended:
            self._status = await self._read_status()
            return
        elif connection.new_parts:
            self._proof.reset()
            return
        state = connection.end_state or await self._end_state(decoder)
        is_cut = connection.tells_end and connection.end_status is None
        end = self._ended(state, self._position.is_reached and not is_cut)
        if waiting(state) and not end.has_own_state:
            is_last = await self._wire.is_last(self.thread_id, str(self.run_id))
            end = replace(end, is_last=is_last)
        if await self._proof.is_enough(end, decoder):
            self.end = end

    async def _end_state(self, decoder: Decoder) -> JSON:
        """The thread's state; without its texts where they were read, and agree."""
        if not decoder.is_resumed:
            return await self._wire.state(self.thread_id)
        if not self._position.is_found:
            raise CannotResume
        previous_id = self.expectation.previous_id
        state = await self._wire.state(self.thread_id, outline_after=previous_id)
        if not decoder.answer.is_confirmed_by(state.get("values"), previous_id):
            raise CannotResume
        return state

    def _ended(self, state: JSON, is_proved: bool = False) -> RunEnd:
        return RunEnd(self.run_id, self._status, state, self.expectation, is_proved)

    async def _read_status(self) -> str:
        return str((await self._wire.run(self.thread_id, str(self.run_id)))["status"])

    async def _restart(self) -> None:
        """Replaces the lost run by another one, unless it had ended."""
        state = await self.state()
        restarted = self._request and self._request.restarted(state)
        if restarted:
            self._begin(restarted)
        else:
            self._status = "success"
            self.end = self._ended(state or {})

    async def _has_a_twin(self, error: SteadyError) -> bool:
        """Whether the run of another request with the same key is why the server refused ours."""
        request = self._request
        if isinstance(error, Conflict) and request and request.may_be_repeated and not self.run_id:
            self.run_id = await self._wire.find(self.thread_id, request.idempotency_key)
            return self.run_id is not None
        return False

    def _transient(self, error: SteadyError) -> SteadyError:
        """The error, where trying again may help; else raises it."""
        if self._is_lost:
            raise RunLost.now() from error
        was_sent_before = self._request is not None and self._request.attempts > 1
        may_be_own_run = isinstance(error, Conflict) and was_sent_before
        if not may_be_own_run and not self._wire.reconnect.is_transient(error):
            raise error
        return error

    async def _wait(self, backoff: Backoff, cause: SteadyError | None) -> None:
        limits = self._wire.limits
        is_first = isinstance(cause, CannotConnect) and self.run_id is None
        limit_seconds = limits.connect_seconds if is_first else limits.reconnect_seconds
        least_seconds = cause.retry_after_seconds if cause else 0.0
        if await backoff.wait(limit_seconds, least_seconds):
            return
        if cause is None:
            raise StreamLost(
                f"The stream keeps ending early, for {limits.reconnect_seconds:g} s now. "
                f"{RUN_CONTINUES}"
            )
        if self.run_id is None:
            raise cause
        raise ConnectionLost(
            f"The server did not come back within {limits.reconnect_seconds:g} s: {cause.message} "
            f"{RUN_CONTINUES}"
        ) from cause


def _check_known(parts: list[Part]) -> None:
    """A join of a run that the server does not know is answered with 200, and 404 inside."""
    for part in parts:
        if part.name == "error" and b"HTTPException" in part.raw:
            message = str(part.data.get("message"))
            if message.startswith("404"):
                raise NotFound(f"Not found: {message}")


def _end_in(end: Part) -> tuple[str | None, JSON | None]:
    """The run's status and its thread's state, where the part that ends its stream has them."""
    with suppress(ValueError):
        data = end.data
        if isinstance(data, dict) and isinstance(data.get("status"), str):
            state = data.get("state")
            return data["status"], state if isinstance(state, dict) else None
    return None, None


def _run_id_in(parts: list[Part]) -> str | None:
    """For servers that do not name the run in the response's head."""
    return next((part.data.get("run_id") for part in parts if part.name == "metadata"), None)
