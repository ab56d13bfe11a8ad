"""Runs for the chat routes: each is a run of this server, asked for as the user.

The routes are a client of the server like any other: one decoder, one delivery contract, on every
surface. Events leave here as JSON objects of that one vocabulary, each with its id.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, TypeVar

import httpx
import orjson

from agent.access.quota import is_shutting_down
from agent.http.own_server import OwnServerClient
from agent.http.schemas import JSON, Action, RunRef
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
    RunFailed,
    SteadyError,
    StreamLost,
    to_json,
)
from client.reconnect import is_transient

HEAD_SECONDS = 2.0  # what fails sooner has an HTTP status; what fails later is told in the stream

# They end no line of server-sent events, but they do for readers that use `str.splitlines`.
_LINE_ENDS = {chr(n).encode(): rb"\u%04x" % n for n in (0x85, 0x2028, 0x2029)}

T = TypeVar("T")
IdAndEvent = tuple[str | None, JSON]
Events = AsyncGenerator[IdAndEvent]
AsEvents = Callable[[SteadyError], list[IdAndEvent]]  # how a surface tells of an error in band


class Chat:
    """The runs of one user on the server at `url`; `token` is the user's own, empty for none.

    However often a user's idempotency key is sent, it starts one run. `agent` is the user's client.
    """

    def __init__(
        self, url: str, user: str, token: str, config: Settings, transport: httpx.AsyncBaseTransport
    ) -> None:
        self._user = user
        limits = Limits(run_seconds=config.steady_run_seconds)
        self.agent = AgentClient(
            url,
            token=token,
            limits=limits,
            reconnect=Reconnect(is_transient=_is_worth_waiting_for),
            transport=transport,
            client_class=OwnServerClient,
        )

    def start(self, action: Action, fields: JSON) -> Run:
        """The run that the client's method of this name begins with these arguments."""
        method: Callable[..., Run] = getattr(self.agent, action)
        given = {**fields, "idempotency_key": self.own_id(fields.get("idempotency_key"))}
        if "message" in given:
            given["input"] = given.pop("message")
        return method(**given)

    def own_id(self, name: str | None) -> str | None:
        """The UUID for what the user calls by this name: no other user's is the same."""
        if not name:
            return None
        return str(uuid.uuid5(uuid.NAMESPACE_OID, encoded([self._user, name]).decode()))

    def join(self, ref: RunRef) -> Run:
        """A run's events, from its beginning."""
        return self.agent.runs.join(**ref.model_dump())

    def join_after(self, event_id: str) -> Run:
        """The events of a run that follow the one with this id. Raises InvalidRequest."""
        thread_id, _, rest = event_id.partition("/")
        run_id, _, after = rest.partition("/")
        if not after:
            raise InvalidRequest(f"{event_id!r} is no event's id: give one of a stream, whole.")
        return self.agent.runs.join(thread_id, run_id, after)

    async def stop(self, ref: RunRef) -> None:
        """Stops the run. Raises SteadyError."""
        await self.agent.runs.cancel(**ref.model_dump())

    async def forget(self, run: Run) -> None:
        """Deletes the run's thread, and ends the run before where it goes on."""
        if run.thread_id is None or run.run_id is None:
            return
        if run.done is None:
            await self.agent.runs.stop(run.thread_id)
        await self.agent.threads.delete(run.thread_id)


def _is_worth_waiting_for(error: SteadyError) -> bool:
    """Transient errors, but not a user's rate limit, and none while the server is stopped."""
    is_to_wait = not isinstance(error, RateLimited) and not is_shutting_down.is_set()
    return is_transient(error) and is_to_wait


async def undo(run: Run) -> None:
    """Undoes a run whose events are being read; one that is gone needs no more."""
    with suppress(NotFound):
        await run.stop("rollback")


async def start_events(run: Run) -> Events:
    """The run's events, once the first is there or is long in coming.

    Raises SteadyError if the run cannot be had. How it ends is told by its events.
    """
    return await await_first(run_events(run), HEAD_SECONDS)


async def run_events(run: Run) -> Events:
    """The run's events. Raises SteadyError, but for a run that fails: that is told by events."""
    async with run:
        try:
            async for event in run:
                yield _event_id(run), to_json(event)
        except RunError as error:
            if isinstance(error, StreamLost):
                raise
            for event_id, event_json in error_events(error, run):
                yield event_id, event_json


def _event_id(run: Run) -> str | None:
    """The id of the event just read; `error` and `done` have that of the event before them."""
    return f"{run.thread_id}/{run.run_id}/{run.last_event_id}" if run.last_event_id else None


def error_events(error: SteadyError, run: Run | None = None) -> list[IdAndEvent]:
    """An error as the two events that end a stream: of `run`, or of one that never began."""
    error.message = _sendable(error.message)
    if run is not None:
        return [(_event_id(run), to_json(event)) for event in run.failure(error)]
    last = (Error(error.code, error.message, error.retryable), Done("error", None, None, 0))
    return [(None, to_json(event)) for event in last]


def encoded(event: JSON | list[str]) -> bytes:
    """The event as one line of JSON. Raises RunFailed where it holds what JSON text cannot."""
    try:
        text = orjson.dumps(event)
    except TypeError as error:  # half of a surrogate pair, or a number of more than 64 bits
        raise _cannot_be_sent(error) from error
    for mark, escaped in _LINE_ENDS.items():
        text = text.replace(mark, escaped)
    return text


def check_utf8(text: str) -> None:
    """Raises RunFailed for half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _cannot_be_sent(error) from error


def _cannot_be_sent(error: Exception) -> RunFailed:
    return RunFailed(f"The answer has a part that cannot be sent ({error}): ask again.")


def error_body(error: SteadyError) -> JSON:
    """An error as the JSON object that a person's program reads, where it reads no events."""
    return {"error": _sendable(error.message), "code": error.code}


def _sendable(text: str) -> str:
    """The text, with a question mark for each half of a surrogate pair."""
    return text.encode(errors="replace").decode()


async def await_first(items: AsyncGenerator[T], seconds: float) -> AsyncGenerator[T]:
    """The items, when the first has come or the time has passed; raises what the first raises."""
    first = asyncio.ensure_future(anext(items, None))
    try:
        await asyncio.wait({first}, timeout=seconds)
        if first.done():
            first.result()
    except BaseException:
        await _cancel_and_close(first, items)
        raise
    return _with_first(first, items)


async def _with_first(
    first: asyncio.Future[T | None], items: AsyncGenerator[T]
) -> AsyncGenerator[T]:
    try:
        if (item := await first) is not None:
            yield item
            async for item in items:
                yield item
    finally:
        await _cancel_and_close(first, items)


async def _cancel_and_close(first: asyncio.Future[Any], items: AsyncGenerator[Any]) -> None:
    try:
        if not first.done():
            first.cancel()
            await asyncio.wait({first})
        elif not first.cancelled():
            first.exception()  # it was told, or nobody is left to be told
    finally:
        await items.aclose()
