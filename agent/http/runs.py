"""Runs for the chat routes: each is a run of this server, asked for over HTTP, as the user.

The routes are a client of the server like any other: one decoder, one delivery contract, on every
surface. Events leave here as JSON objects of that one vocabulary, with their place in the stream.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import TypeVar

import httpx

from agent.http.schemas import JSON, AgentMessage, Decision, OnThread, RunPlace
from agent.settings import Settings
from client import (
    AgentClient,
    Done,
    Error,
    InvalidRequest,
    Limits,
    NotFound,
    RateLimited,
    Reconnect,
    Run,
    RunError,
    SteadyError,
    to_json,
)
from client.reconnect import is_transient

HEAD_SECONDS = 2.0  # what fails sooner has an HTTP status; what fails later is told in the stream
_STATUS = {
    "invalid_request": 422,
    "unauthorized": 401,
    "not_found": 404,
    "conflict": 409,
    "unavailable": 503,
    "rate_limited": 429,
    "cannot_connect": 503,
    "connection_lost": 502,
    "stream_lost": 410,
    "run_lost": 410,
}

__all__ = [
    "HEAD_SECONDS",
    "Chat",
    "ChatError",
    "Placed",
    "Run",
    "begun",
    "first_awaited",
    "stop",
    "undo",
]

T = TypeVar("T")
Placed = tuple[str | None, JSON]


class ChatError(Exception):
    """A request that was not taken: its HTTP status, its code, and one line for the person."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds

    @property
    def body(self) -> JSON:
        """The JSON that the person's program reads."""
        return {"error": self.message, "code": self.code}

    @property
    def events(self) -> list[JSON]:
        """The same in band, where there is no HTTP status."""
        error = Error(self.code, self.message, self.retryable)
        return [to_json(error), to_json(Done("error", None, None, 0))]


def _is_worth_waiting_for(error: SteadyError) -> bool:
    """What a user has too much of is the user's to wait for."""
    return is_transient(error) and not isinstance(error, RateLimited)


@contextmanager
def told() -> Iterator[None]:
    """Raises what the client raises as ChatError."""
    try:
        yield
    except SteadyError as error:
        raise ChatError(
            _STATUS.get(error.code, 500),
            error.code,
            error.message,
            retryable=error.retryable,
            retry_after_seconds=error.retry_after_seconds,
        ) from error


class Chat:
    """The runs of one user on the server at `url`; `token` is the user's own, empty for none.

    However often a user's `key` is asked for, it starts one run.
    """

    def __init__(
        self, url: str, user: str, token: str, config: Settings, transport: httpx.AsyncBaseTransport
    ) -> None:
        self._user = user
        limits = Limits(run_seconds=config.steady_run_seconds)
        self._agent = AgentClient(
            url,
            token=token,
            limits=limits,
            reconnect=Reconnect(is_transient=_is_worth_waiting_for),
            transport=transport,
        )

    def start(self, asked: AgentMessage, key: str | None = None) -> Run:
        """A run on the message."""
        thread_id = str(asked.thread_id) if asked.thread_id else None
        return self._agent.stream(
            asked.message,
            thread_id=thread_id,
            modes=asked.modes,
            assistant_id=asked.assistant_id,
            context=asked.context,
            multitask_strategy=asked.multitask_strategy,
            on_disconnect=asked.on_disconnect,
            idempotency_key=self._idempotency_key(key),
            checkpoint_id=asked.checkpoint_id,
            replaces=asked.replaces,
        )

    def resume(self, asked: OnThread, key: str | None = None) -> Run:
        """The rest of a run that its server left unfinished."""
        return self._agent.continue_run(
            str(asked.thread_id),
            modes=asked.modes,
            assistant_id=asked.assistant_id,
            context=asked.context,
            idempotency_key=self._idempotency_key(key),
        )

    def regenerate(self, asked: OnThread, key: str | None = None) -> Run:
        """The last question's answer anew."""
        return self._agent.regenerate(
            str(asked.thread_id),
            modes=asked.modes,
            assistant_id=asked.assistant_id,
            context=asked.context,
            idempotency_key=self._idempotency_key(key),
        )

    def decide(self, decision: Decision, key: str | None = None) -> Run:
        """The rest of a run that waits for a person."""
        return self._agent.decide(
            str(decision.thread_id),
            decision.interrupt_id,
            decision.decisions,
            modes=decision.modes,
            assistant_id=decision.assistant_id,
            context=decision.context,
            idempotency_key=self._idempotency_key(key),
        )

    def _idempotency_key(self, key: str | None) -> str | None:
        """The user's key as the server is told it: nobody else's is the same."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._user}/{key}")) if key else None

    def join(self, place: RunPlace) -> Run:
        """A run's events, from its beginning."""
        return self._agent.runs.join(str(place.thread_id), str(place.run_id))

    def go_on(self, place: str) -> Run:
        """The run and what follows the event that `place` names. Raises ChatError."""
        thread_id, _, rest = place.partition("/")
        run_id, _, after = rest.partition("/")
        with told():
            if not after:
                raise InvalidRequest(f"{place!r} is no event's id: give one of a stream, whole.")
            return self._agent.runs.join(thread_id, run_id, after)

    async def stop(self, place: RunPlace) -> None:
        """Stops the run. Raises ChatError."""
        with told():
            await self._agent.runs.cancel(str(place.thread_id), str(place.run_id))


async def stop(run: Run) -> None:
    """Stops a run that is being told. Raises ChatError."""
    with told():
        await run.stop()


async def undo(run: Run) -> None:
    """Undoes a run that is being told; one that is gone needs no more. Raises ChatError."""
    with told(), suppress(NotFound):
        await run.stop("rollback")


async def begun(run: Run) -> AsyncGenerator[Placed]:
    """The run's events, once the first is there or is long in coming.

    Raises ChatError if the run cannot be had; how it ends, and what fails later, is told by events.
    """
    with told():
        return _in_band(run, await first_awaited(_placed(run), HEAD_SECONDS))


async def _placed(run: Run) -> AsyncGenerator[Placed]:
    async with run:
        try:
            async for event in run:
                yield _place(run), to_json(event)
        except RunError as error:
            if error.code in _STATUS:
                raise
            for placed in _failure(run, error):
                yield placed


async def _in_band(run: Run, events: AsyncGenerator[Placed]) -> AsyncGenerator[Placed]:
    async with aclosing(events):
        try:
            async for placed in events:
                yield placed
        except SteadyError as error:
            for placed in _failure(run, error):
                yield placed


def _failure(run: Run, error: SteadyError) -> list[Placed]:
    return [(_place(run), to_json(event)) for event in run.failure(error)]


def _place(run: Run) -> str | None:
    """Of the event just read. An end is no event of the server's: it has that of the one before,
    and so has a failure, which whoever asks again is told again."""
    return f"{run.thread_id}/{run.run_id}/{run.last_event_id}" if run.last_event_id else None


async def first_awaited(items: AsyncGenerator[T], seconds: float) -> AsyncGenerator[T]:
    """The items, when the first has come or the time has passed; raises what the first raises."""
    first = asyncio.ensure_future(anext(items, None))
    try:
        await asyncio.wait({first}, timeout=seconds)
        if first.done():
            first.result()
    except BaseException:
        await _given_up(first, items)
        raise
    return _all(first, items)


async def _all(first: asyncio.Future[T | None], items: AsyncGenerator[T]) -> AsyncGenerator[T]:
    try:
        if (item := await first) is not None:
            yield item
            async for item in items:
                yield item
    finally:
        await _given_up(first, items)


async def _given_up(first: asyncio.Future[T | None], items: AsyncGenerator[T]) -> None:
    try:
        if not first.done():
            first.cancel()
            await asyncio.wait({first})
        elif not first.cancelled():
            first.exception()  # it was told, or nobody is left to be told
    finally:
        await items.aclose()
