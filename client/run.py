"""One run's stream: iterate its events, ask for its result, stop it."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Self

from langgraph_sdk.schema import CancelAction, DisconnectMode

from .answer import Answer
from .decoding.audience import Audience
from .decoding.coalesce import coalesced
from .decoding.decoder import Decoder
from .decoding.snapshot import CannotResume, Snapshot
from .delivery.cursor import Cursor, Origin
from .delivery.delivery import Batch, Delivery
from .delivery.run_end import RunEnd, error_text
from .errors import (
    RUN_CONTINUES,
    InvalidRequest,
    RunError,
    RunLost,
    RunTimedOut,
    SteadyError,
    StreamLost,
    from_state,
)
from .events import (
    JSON,
    AgentEvent,
    Done,
    Error,
    Interrupt,
    Reasoning,
    Status,
    Token,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Usage,
)
from .limits import Deadlines, Limits
from .state.decisions import answer_of

_closing: set[asyncio.Task[None]] = set()
_NO_ERROR_TEXT = ": execution failed"
_AFTER_THE_PARTS = 1_000_000  # more events than one part has
_OF_MESSAGES = (Token, Reasoning, ToolCallDelta, ToolCall, ToolResult, Usage)


class Run:
    """The stream of one run's events, which ends with one `Done` or raises one SteadyError.

    An async context manager and an async iterator; `AgentClient` and `AgentClient.runs` make it.
    Its events are read once: a loop that was left can be continued by another one, and a loop after
    the end raises InvalidRequest. Leaving the context early closes the connection and lets the run
    continue at the server, unless `on_disconnect` is `cancel`; `stop()` ends the run.

    Args:
        delivery: the parts of the run's stream.
        limits: how long to wait.
        nodes: one node of the graph, or several: the only ones whose tokens and tool calls are
            streamed. None, the default: all but tools and middleware.
        on_disconnect: `cancel` ends the run when its reader leaves. Default: `continue`.
        after: the `last_event_id` of a reader that left. None, the default: no event was read.
        resume: what continues the run after interrupts. None, the default: nothing can.

    Raises (while it is iterated):
        ServerError: the server did not take the run, or went away.
        RunError: the run did not end well, or the rest of its stream cannot be had.

    Example::

        async with agent.stream("What is 6 x 7?") as run:
            async for event in run:
                print(event)
        print(run.done.status, await run.text())

    Attributes:
        done: the `Done` that ended the stream; None until it has ended.
        interrupts: what waits for a person's decision when the run has ended `interrupted`.
    """

    def __init__(
        self,
        delivery: Delivery,
        limits: Limits,
        *,
        nodes: Iterable[str] | None = None,
        on_disconnect: DisconnectMode = "continue",
        after: str | None = None,
        resume: Callable[[str, JSON], "Run"] | None = None,
    ) -> None:
        self._delivery = delivery
        self._deadlines = Deadlines(limits)
        self._nodes = None if nodes is None else listed(nodes)
        self._on_disconnect = on_disconnect
        self._resume = resume
        self._after = self._cursor = Cursor.parse(after) if after else None
        self._begin_at(self._after.origin if self._after else None)
        self._events: AsyncGenerator[AgentEvent] | None = None
        self._failure: SteadyError | None = None
        self._first_failure: SteadyError | None = None  # of a run whose text so far is read yet
        self._started = time.monotonic()
        self._ttft_ms: int | None = None
        self.done: Done | None = None
        self.interrupts: list[Interrupt] = []

    def _begin_at(self, origin: Origin | None) -> None:
        """What is read next is what follows the origin, if its snapshot is understood."""
        self._decoder = Decoder(self._delivery.thread_id, Audience(self._nodes))
        self._usage: Usage | None = None
        self._origin: Origin | None = None
        snapshot = Snapshot.parse(origin.snapshot) if origin and self._nodes is None else None
        if snapshot is not None:
            self._decoder.resume(snapshot, self._delivery.run_id)
            self._usage = snapshot.usage if snapshot.usage != Usage(0, 0) else None
            self._origin = origin
        self._delivery.begin_at(self._origin)

    @property
    def run_id(self) -> str | None:
        """None until the server accepted the run."""
        return self._delivery.run_id

    @property
    def thread_id(self) -> str | None:
        """None until there is a thread."""
        return self._delivery.thread_id if self._delivery.has_thread else None

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that was read: `runs.join` continues after it.

        None before the first event, and on servers whose events have no ids.
        """
        return str(self._cursor) if self._cursor else None

    @property
    def tool_calls(self) -> list[JSON]:
        """The complete tool calls so far, as `{"id", "name", "args"}`."""
        return self._decoder.answer.tool_calls

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the stream was requested."""
        return round((time.monotonic() - self._started) * 1000)

    async def __aenter__(self) -> Self:
        self._started = time.monotonic()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        closing = asyncio.create_task(self._close())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        await asyncio.shield(closing)  # a reader who is cancelled closes in order, too

    async def _close(self) -> None:
        self._deadlines.close()
        if self._events is not None:
            await self._events.aclose()
        if self._on_disconnect == "cancel" and self.done is None and self._failure is None:
            await self.stop()

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        if self.done is not None:
            raise InvalidRequest(
                "The events of this run have been read to their end: keep them in a list, or join "
                f"the run once more: runs.join({self.thread_id!r}, {self.run_id!r})."
            )
        return self

    async def __anext__(self) -> AgentEvent:
        if self._events is None:
            self._events = self._iterate()
        try:
            event = await self._deadlines.enforce(anext(self._events, None))
        except CannotResume as reason:
            self._first_failure = self._first_failure or reason.failure
            self._after, self._events, self._failure = self._cursor, None, None
            self._begin_at(None)
            return await anext(self)
        except RunTimedOut as error:
            self._failure = self._failure or self._located(error)
            raise self._failure from None
        if event is not None:
            return event
        if self.done is not None:
            raise StopAsyncIteration
        left_early = StreamLost(f"The stream was left before its end. {RUN_CONTINUES}")
        raise self._failure or self._located(left_early)

    async def text(self) -> str:
        """The answer's text, once the run has ended.

        Raises:
            SteadyError: what the stream raised, or StreamLost if it was left before its end.
        """
        await self._read_to_end()
        await self._complete_end()
        return self._decoder.answer.text

    async def final_state(self) -> Any:
        """The values of the thread's state at the run's end: of most graphs, an object.

        Raises:
            SteadyError: see `text`.
        """
        await self._read_to_end()
        await self._complete_end()
        return self._delivery.end.state.get("values") if self._delivery.end else {}

    async def answer(self) -> Answer:
        """What the run has come to, once it has ended: its text, calls, usage, thread and state.

        Raises:
            SteadyError: see `text`.
        """
        text, state = await self.text(), await self.final_state()
        return Answer(
            text,
            self.done.status if self.done else "success",
            str(self.thread_id),
            str(self.run_id),
            self.tool_calls,
            self._usage,
            self.interrupts,
            state,
        )

    async def stop(self, action: CancelAction = "interrupt") -> None:
        """Cancels the run, as soon as the server has it; the stream ends with status `stopped`.

        Args:
            action: `interrupt` keeps what the run has done. With `rollback` it is undone: the
                thread is as it was before it, and the server no longer knows the run, so that its
                stream may also raise RunLost. Default: `interrupt`.

        Raises:
            ServerError: the server did not take the cancellation.
        """
        await self._delivery.stop(action)

    def decide(self, decisions: JSON | Sequence[JSON], interrupt_id: str | None = None) -> "Run":
        """The rest of the run, which ended `interrupted`.

        Args:
            decisions: one for each request of the interrupt: see `AgentClient.decide`.
            interrupt_id: which of `interrupts`. None, the default: the only one.

        Returns:
            The rest of the run, with the same assistant, modes and context.

        Raises:
            InvalidRequest: there is none, or more than one and no `interrupt_id`.
        """
        ids = [interrupt_id] if interrupt_id else [each.id for each in self.interrupts]
        if len(ids) != 1:
            raise InvalidRequest(
                f"Give the interrupt_id: {len(ids)} interrupts of this run wait for a decision."
            )
        interrupt = next((each for each in self.interrupts if each.id == ids[0]), None)
        return self._resumed({ids[0]: answer_of(interrupt, listed(decisions))})

    def resume(self, answer: Any) -> "Run":
        """The rest of the run, which ended `interrupted`, whatever it asked for.

        Args:
            answer: what the graph's `interrupt(...)` returns; where several wait, an object with an
                answer by the id of each: see `AgentClient.resume`.

        Returns:
            The rest of the run, with the same assistant, modes and context.

        Raises:
            InvalidRequest: nothing waits, or several, and the answer is not by their ids.
        """
        ids = {each.id for each in self.interrupts}
        if isinstance(answer, Mapping) and answer and answer.keys() <= ids:
            return self._resumed(dict(answer))
        if len(ids) != 1:
            raise InvalidRequest(
                f"{len(ids)} interrupts of this run wait: give an object with an answer by the id "
                f"of each, of {', '.join(sorted(ids)) or 'none'}."
            )
        return self._resumed({ids.pop(): answer})

    def _resumed(self, answers: JSON) -> "Run":
        if self._resume is None or self.thread_id is None:
            raise InvalidRequest("This run cannot be continued from here: use AgentClient.resume.")
        return self._resume(self.thread_id, answers)

    def failure(self, error: SteadyError) -> tuple[Error, Done]:
        """What the stream raised, as the two events that end a stream in band.

        Args:
            error: what it raised.
        """
        status: Status = "timeout" if isinstance(error, RunTimedOut) else "error"
        done = Done(status, error.run_id or self.run_id, self._ttft_ms, self.elapsed_ms)
        return Error(error.code, error.message, error.retryable), done

    async def _read_to_end(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.done is None:
            async for _ in self:
                pass

    async def _complete_end(self) -> None:
        """Fetches the texts that were read before the run was joined."""
        if self._delivery.end is not None:
            self._read_whole_run(await self._delivery.complete_end(self._delivery.end))

    def _read_whole_run(self, end: RunEnd) -> None:
        """Takes from the end's state what was read of the run before it was joined."""
        if self._decoder.is_resumed:
            values, previous_id = end.state.get("values"), end.expectation.previous_id
            self._decoder.answer.read_whole_run(values, previous_id)

    async def _iterate(self) -> AsyncGenerator[AgentEvent]:
        try:
            parts = self._delivery.parts(self._decoder)
            async with aclosing(parts) as batches:
                async for batch in batches:
                    self._deadlines.note_event()
                    for cursor, event in coalesced(self._decoded(batch)):
                        self._cursor = cursor
                        yield event
                    if self._failure is not None:
                        break
            if self._failure is not None:
                await self._delivery.settle()  # the thread is free when the error arrives
                raise await self._in_full(self._failure)
            if self._delivery.end is not None:
                for event in self._last_events(self._delivery.end):
                    yield event
        except SteadyError as error:
            is_there = isinstance(error, RunError) and not isinstance(error, RunLost)
            if self._decoder.is_resumed and is_there:
                raise CannotResume(error) from error  # its text so far is wanted, too
            self._failure = self._located(self._first_failure or error)
            if self._failure is error:
                raise
            raise self._failure from error

    def _decoded(self, batch: Batch) -> Iterator[tuple[Cursor | None, AgentEvent]]:
        """The events of these parts, without those that a joining reader has read already."""
        for after_part, part in batch:
            before_part = self._origin
            try:
                events = list(self._decoder.decode(part.name, part.data))
            except SteadyError as error:
                self._failure = error
                return
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self._failure = StreamLost(f"The server's {part.name} event cannot be read.")
                self._failure.__cause__ = error
                return
            for event in events:
                self._note(event)
            self._note_origin(after_part)
            for number, event in enumerate(events, 1):
                origin = self._origin if number == len(events) else before_part
                cursor = after_part and Cursor(after_part.id, after_part.count, number, origin)
                if self._is_asked_for(event) and not self._was_read(cursor):
                    yield cursor, event

    def _note_origin(self, after_part: Cursor | None) -> None:
        """Who joins here begins after this part, if a snapshot can be made."""
        if after_part is None or not self._delivery.expectation.is_usual:
            return
        snapshot = self._decoder.snapshot(self._usage or Usage(0, 0))
        if text := snapshot and snapshot.text():
            self._origin = Origin(after_part.id, int(after_part.count), text)

    def _is_asked_for(self, event: AgentEvent) -> bool:
        """The model's messages are read in every mode: the answer is the same in each."""
        return self._delivery.expectation.has_tokens or not isinstance(event, _OF_MESSAGES)

    def _was_read(self, cursor: Cursor | None) -> bool:
        """Whether the reader who left before had read this event."""
        return bool(self._after and cursor and self._after.covers(cursor))

    def _note(self, event: AgentEvent) -> None:
        if self._ttft_ms is None and self._decoder.answer.has_text:
            self._ttft_ms = self.elapsed_ms
        if isinstance(event, Usage):
            before = self._usage or Usage(0, 0)
            self._usage = Usage(
                before.input_tokens + event.input_tokens, before.output_tokens + event.output_tokens
            )

    def _last_events(self, end: RunEnd) -> Iterator[AgentEvent]:
        """Events that no part brought, each with a cursor after the last part's, and `Done`."""
        status, events = end.last_events(self._decoder)
        self._read_whole_run(end)
        self.interrupts = [event for event in events if isinstance(event, Interrupt)]
        last = self._cursor
        for number, event in enumerate(events, _AFTER_THE_PARTS):
            cursor = last and replace(last, event=number)
            if self._is_asked_for(event) and not self._was_read(cursor):
                self._cursor = cursor
                yield event
        reason = self._decoder.answer.finish_reason
        self.done = Done(status, self.run_id, self._ttft_ms, self.elapsed_ms, reason)
        yield self.done
        if after_parts := self._delivery.cursor:  # who joins from here on misses nothing
            number = _AFTER_THE_PARTS + len(events)
            self._cursor = replace(after_parts, event=number, origin=self._origin)

    async def _in_full(self, failure: SteadyError) -> SteadyError:
        """Some servers tell only an error's kind; the thread's state has its text."""
        if not failure.message.endswith(_NO_ERROR_TEXT):
            return failure
        with suppress(SteadyError):
            if text := error_text(await self._delivery.state() or {}):
                return from_state(text)
        return failure

    def _located(self, error: SteadyError) -> SteadyError:
        """The error, with what is needed to continue from here."""
        error.run_id = error.run_id or self.run_id
        error.thread_id = error.thread_id or self.thread_id
        error.last_event_id = error.last_event_id or self.last_event_id
        if not self._decoder.is_resumed:
            error.text = error.text or self._decoder.answer.text
        return error


def listed(one_or_more: Any) -> list[Any]:
    """A list of what may be given alone: a text is one text, and an object one object."""
    return [one_or_more] if isinstance(one_or_more, str | Mapping) else list(one_or_more)
