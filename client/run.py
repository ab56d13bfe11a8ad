"""One run's stream: iterate its events, ask for its result, stop it."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from types import TracebackType
from typing import Self

from langgraph_sdk.schema import CancelAction, DisconnectMode

from .decoding.coalesce import coalesced
from .decoding.decoder import Decoder
from .delivery.cursor import Cursor
from .delivery.delivery import Delivery, Fresh
from .delivery.wire import Wire
from .errors import GO_ON, InvalidRequest, RunTimedOut, SteadyError, StreamLost, from_state
from .events import JSON, AgentEvent, Done, Error, Interrupt, Status
from .state.decisions import waiting

Placed = tuple[Cursor | None, AgentEvent]
_leaving: set[asyncio.Task[None]] = set()
_NO_WORDS = ": execution failed"
_AFTER_THE_PARTS = 1_000_000  # more events than one part has


class Run:
    """A stream of one run's events, which ends with one `Done` or raises one SteadyError.

    An async context manager and an async iterator. Leaving it early closes the connection and lets
    the run go on at the server, unless `on_disconnect` is `cancel`; `stop()` ends the run.
    """

    def __init__(
        self,
        wire: Wire,
        delivery: Delivery,
        *,
        nodes: Iterable[str] | None = None,
        on_disconnect: DisconnectMode = "continue",
        after: str | None = None,
        decide: Callable[[str, str, Sequence[JSON]], "Run"] | None = None,
    ) -> None:
        self._wire = wire
        self._delivery = delivery
        self._on_disconnect = on_disconnect
        self._decide = decide
        self._after = self._cursor = Cursor.parse(after) if after else None
        speakers = frozenset(nodes) if nodes is not None else None
        self._decoder = Decoder(delivery.thread_id, speakers)
        self._delivery.is_whole = lambda state: self._is_stopped or not self._missing(state)
        self._events: AsyncGenerator[AgentEvent] | None = None
        self._failure: SteadyError | None = None
        self._started = time.monotonic()
        self._ttft_ms: int | None = None
        self.done: Done | None = None
        self.interrupts: list[Interrupt] = []

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
        """Where the reader is: `runs.join` goes on after it. None before the first event."""
        return str(self._cursor) if self._cursor else None

    @property
    def tool_calls(self) -> list[JSON]:
        """The complete tool calls so far, as `{"id", "name", "args"}`."""
        return self._decoder.answer.tool_calls

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the stream was asked for."""
        return round((time.monotonic() - self._started) * 1000)

    async def __aenter__(self) -> Self:
        self._started = time.monotonic()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        leaving = asyncio.create_task(self._leave())
        _leaving.add(leaving)
        leaving.add_done_callback(_leaving.discard)
        await asyncio.shield(leaving)  # a reader who is cancelled leaves in order, too

    async def _leave(self) -> None:
        if self._events is not None:
            await self._events.aclose()
        if self._on_disconnect == "cancel" and self.done is None and self._failure is None:
            await self.stop()

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        return self

    async def __anext__(self) -> AgentEvent:
        if self._events is None:
            self._events = self._iterate()
        try:
            event = await self._delivery.deadlines.keep(anext(self._events, None))
        except RunTimedOut as error:
            self._failure = self._failure or self._located(error)
            raise self._failure from None
        if event is not None:
            return event
        if self.done is None:
            raise self._failure or self._left()
        raise StopAsyncIteration

    async def text(self) -> str:
        """The answer's text, once the run has ended. Raises what the stream raises."""
        await self._finish()
        return self._decoder.answer.text

    async def final_state(self) -> JSON:
        """The thread's state when the run had ended."""
        await self._finish()
        values: JSON = self._delivery.state["values"]
        return values

    async def stop(self, action: CancelAction = "interrupt") -> None:
        """Cancels the run, as soon as the server has it; the stream ends with status `stopped`.

        With `rollback` the run is undone: the thread is as it was before it, and the server no
        longer knows the run, so that its stream may also raise RunLost.
        """
        await self._delivery.stop(action)

    def decide(self, decisions: Sequence[JSON], interrupt_id: str | None = None) -> "Run":
        """The rest of the run, which ended `interrupted`: `AgentClient.decide` says how.

        `interrupt_id` may be left out where just one of `interrupts` waits.
        """
        ids = [interrupt_id] if interrupt_id else [each.id for each in self.interrupts]
        if self._decide is None or len(ids) != 1 or self.thread_id is None:
            raise InvalidRequest(
                f"Say which interrupt is decided; this run has {len(ids)} of them."
            )
        return self._decide(self.thread_id, ids[0], decisions)

    def failure(self, error: SteadyError) -> tuple[Error, Done]:
        """What the stream raised, as the two events that tell of it in band."""
        status: Status = "timeout" if isinstance(error, RunTimedOut) else "error"
        done = Done(status, error.run_id or self.run_id, self._ttft_ms, self.elapsed_ms)
        return Error(error.code, error.message, error.retryable), done

    async def _finish(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.done is None:
            async for _ in self:
                pass

    def _left(self) -> SteadyError:
        """Who left the stream before its end, or was cancelled in it, has no more of it."""
        return self._located(StreamLost(f"The stream was left before its end. {GO_ON}"))

    async def _iterate(self) -> AsyncGenerator[AgentEvent]:
        try:
            async with aclosing(self._delivery.parts()) as received:
                async for fresh in received:
                    for cursor, event in coalesced(self._decoded(fresh)):
                        self._cursor = cursor
                        yield event
                    if self._failure is not None:
                        break
            if self._failure is not None:
                await self._delivery.settle()  # the thread is free when the error arrives
                raise await self._in_full(self._failure)
            async for event in self._ending():
                yield event
        except SteadyError as error:
            self._failure = self._located(error)
            raise

    def _decoded(self, fresh: Fresh) -> Iterator[Placed]:
        """The events of these parts, without those that a joining reader has read already."""
        for place, part in fresh:
            try:
                for number, event in enumerate(self._decoder.decode(part.name, part.data), 1):
                    at = place and replace(place, event=number)
                    if not (self._after and at and self._after.covers(at)):
                        self._note_first_text()
                        yield at, event
            except SteadyError as error:
                self._failure = error
                return
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                self._failure = StreamLost(f"The server's {part.name} event cannot be read.")
                self._failure.__cause__ = error
                return

    def _note_first_text(self) -> None:
        if self._ttft_ms is None and self._decoder.answer.has_text:
            self._ttft_ms = self.elapsed_ms

    async def _ending(self) -> AsyncGenerator[AgentEvent]:
        """The run has ended at the server: how, and is what arrived what the thread holds?"""
        status: Status
        state = self._delivery.state
        if self._is_stopped:
            status = "stopped"
            for event in self._after_the_parts(self._stopped_words(state["values"])):
                yield event
        elif self._delivery.status == "timeout":
            raise RunTimedOut("The run passed the server's time limit.")
        elif self._delivery.status == "error":
            raise from_state(_error_in(state))
        else:
            self.interrupts = self._own_interrupts
            status = "interrupted" if self.interrupts else "success"
            last_words = self._put_right(state["values"])
            for event in self._after_the_parts([*last_words, *self.interrupts]):
                yield event
        self.done = Done(status, self.run_id, self._ttft_ms, self.elapsed_ms)
        yield self.done

    def _after_the_parts(self, events: Iterable[AgentEvent]) -> Iterator[AgentEvent]:
        """Events that no part told of, each with a place of its own after the last that one did."""
        last = self._cursor
        for number, event in enumerate(events, _AFTER_THE_PARTS):
            at = last and replace(last, event=number)
            if not (self._after and at and self._after.covers(at)):
                self._cursor = at
                yield event

    @property
    def _is_stopped(self) -> bool:
        """Some servers call a run interrupted, too, that waits for a person."""
        was_ended = self._delivery.status == "interrupted" and not self._own_interrupts
        return self._decoder.stopped or was_ended

    @property
    def _own_interrupts(self) -> list[Interrupt]:
        """What waits in the state, unless another run has come there meanwhile."""
        state = self._delivery.state
        its_run = (state.get("metadata") or {}).get("run_id")
        return waiting(state) if its_run in (None, self.run_id) else []

    def _missing(self, state: JSON) -> set[str]:
        asked = self._delivery.asked
        return self._decoder.answer.missing(state["values"], asked.since, asked.modes)

    def _put_right(self, values: JSON) -> list[AgentEvent]:
        """The last word is the state's; what never arrived of it cannot be put right.

        Only a message that no part spoke of may be no loss: a graph may keep one from its streams.
        """
        missing = self._missing(self._delivery.state)
        if missing and (
            self._delivery.asked.tells_state
            or not self._delivery.is_proved
            or self._decoder.answer.has_begun(missing)
        ):
            raise StreamLost(
                "Part of the stream is gone for good: the thread's state holds the whole answer."
            )
        return self._last_words(values)

    def _last_words(self, values: JSON) -> list[AgentEvent]:
        return list(self._decoder.answer.put_right(values, self._decoder.attempt))

    def _stopped_words(self, values: JSON) -> list[AgentEvent]:
        """The same; and what was said and kept, but stopped before anything of it went out."""
        asked = self._delivery.asked
        unheard = list(self._decoder.answer.unheard(values, asked.since))
        tells = asked.tells_tokens and self._decoder.hears("model")
        return [*self._last_words(values), *(unheard if tells else ())]

    async def _in_full(self, failure: SteadyError) -> SteadyError:
        """Some servers tell of an error's kind alone; the thread's state has its words."""
        if not failure.message.endswith(_NO_WORDS):
            return failure
        with suppress(SteadyError):
            if told := _error_in(await self._wire.state(self._delivery.thread_id)):
                return from_state(told)
        return failure

    def _located(self, error: SteadyError) -> SteadyError:
        """The error, with what is needed to go on from here."""
        error.run_id = error.run_id or self.run_id
        error.thread_id = error.thread_id or self.thread_id
        error.last_event_id = error.last_event_id or self.last_event_id
        error.text = error.text or self._decoder.answer.text
        return error


def _error_in(state: JSON) -> str:
    found = [str(task["error"]) for task in state.get("tasks") or () if task.get("error")]
    return found[0] if found else ""
