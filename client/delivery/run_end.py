"""How a run ended, and whether everything of it has reached the reader."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..decoding.decoder import Decoder
from ..decoding.messages import messages_in
from ..errors import RunTimedOut, StreamLost, from_state
from ..events import JSON, AgentEvent, Interrupt, Status, StructuredResponse
from ..state.decisions import waiting
from .expectation import Expectation

_INCOMPLETE_SECONDS = 5.0
_QUIET_JOINS = 4
_FEWEST_JOINS = 10  # where the machine is too busy for them within the seconds


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run that has ended, as the server tells of it.

    Args:
        run_id: the run.
        status: its status at the server.
        state: the state of its thread.
        expectation: what its stream had to bring.
        is_proved: whether a join that was opened after the end came to where the reader was.
        is_last: whether no other run has come to the thread since. A run that leaves a step as it
            was makes no checkpoint of its own.
    """

    run_id: str | None
    status: str
    state: JSON
    expectation: Expectation
    is_proved: bool = False
    is_last: bool = False

    @property
    def interrupts(self) -> list[Interrupt]:
        """What waits in the state, unless another run has come there meanwhile."""
        return waiting(self.state) if self.has_own_state or self.is_last else []

    @property
    def is_paused(self) -> bool:
        """Whether the run ended before a node, at which it was to pause."""
        return self.status == "success" and self.has_own_state and bool(self.state.get("next"))

    @property
    def has_own_state(self) -> bool:
        """Whether the state is one that the run made."""
        run_id = (self.state.get("metadata") or {}).get("run_id")
        return run_id in (None, self.run_id)

    @property
    def previous_id(self) -> str | None:
        """The message before the run's own; where nothing else tells, its question."""
        previous_id = self.expectation.previous_id
        if previous_id or not (self.expectation.is_asked and self.has_own_state):
            return previous_id
        messages = reversed(messages_in(self.state.get("values")))
        return next((m.get("id") for m in messages if m.get("type") == "human"), None)

    def is_stopped(self, decoder: Decoder) -> bool:
        """Whether the run was cancelled. Some servers also call one interrupted that waits."""
        return decoder.stopped or (self.status == "interrupted" and not self.interrupts)

    def is_complete(self, decoder: Decoder) -> bool:
        """Whether nothing is in the state that the decoder has not read to its end."""
        is_all_there_is = self.is_stopped(decoder) or not self.expectation.is_stored
        return is_all_there_is or not self._missing(decoder)

    def is_unstreamed(self, decoder: Decoder) -> bool:
        """Whether the stream is proved whole, and no part spoke of what it lacks of the state.

        Graphs keep messages from their streams: by a tag, or by writing them as plain objects.
        """
        return self.is_proved and not decoder.answer.has_any(self._missing(decoder))

    def last_events(self, decoder: Decoder) -> tuple[Status, list[AgentEvent]]:
        """The run's status for the reader, and the events that the stream itself did not bring.

        The state decides what the text is; what never arrived of it cannot be mended, unless no
        part spoke of that message at all: a graph may keep one from its streams.

        Raises:
            RunTimedOut: the server's time limit ended the run.
            RunError: the graph failed, by the state's own words.
            StreamLost: part of the stream never arrived.
        """
        answer, values = decoder.answer, self.state.get("values")
        if self.is_stopped(decoder):
            return "stopped", self._unsent(decoder)
        if self.status == "timeout":
            raise RunTimedOut("The run passed the server's time limit.")
        if self.status == "error":
            raise from_state(error_text(self.state))
        missing, is_stored = self._missing(decoder), self.expectation.is_stored
        if missing and is_stored and (not self.is_proved or answer.has_any(missing)):
            raise StreamLost(
                "Part of the stream is gone for good: the thread's state holds the whole answer."
            )
        interrupts = self.interrupts
        is_late = not is_stored and self.expectation.has_tokens
        events = self._unsent(decoder) if is_late else self._corrections(decoder)
        events += interrupts
        answer.read_end(values, self.previous_id)
        if interrupts or self.is_paused:
            return "interrupted", events
        structured = values.get("structured_response") if isinstance(values, dict) else None
        if structured is not None:
            events.append(StructuredResponse(structured))
        return "success", events

    def _corrections(self, decoder: Decoder) -> list[AgentEvent]:
        return list(decoder.answer.corrections(self.state.get("values"), decoder.attempt))

    def _unsent(self, decoder: Decoder) -> list[AgentEvent]:
        """What the thread holds of the run's messages and the stream did not bring."""
        events = self._corrections(decoder)
        unsent = list(decoder.answer.unsent(self.state.get("values"), self.previous_id))
        return [*events, *(unsent if decoder.audience.is_speaker("model") else ())]

    def _missing(self, decoder: Decoder) -> set[str]:
        return decoder.answer.missing(
            self.state.get("values"), self.previous_id, self.expectation.modes
        )


class EndProof:
    """When the end of a run's stream is believed: a response that ended proves nothing.

    Joins are opened after the run has ended, until one brings nothing new and nothing is missing
    from what was read; or until several have brought nothing new: over some seconds, where a
    message has begun and not ended.
    """

    def __init__(self, delays: Callable[[float], Iterator[float]]) -> None:
        self._delays = delays
        self._waits: Iterator[float] | None = None
        self._quiet_joins = 0

    @property
    def is_in_doubt(self) -> bool:
        """Whether something is missing: the next join has to bring again what was read.

        One that begins after it would prove nothing, if it ended there.
        """
        return self._waits is not None

    def reset(self) -> None:
        """A join has brought something new."""
        self._waits, self._quiet_joins = None, 0

    async def is_enough(self, end: RunEnd, decoder: Decoder) -> bool:
        """Whether one more join without anything new is enough; else waits before the next."""
        self._quiet_joins += 1
        if end.is_complete(decoder):
            return end.is_proved or self._quiet_joins >= _QUIET_JOINS
        if end.is_unstreamed(decoder) and self._quiet_joins >= _QUIET_JOINS:
            return True
        self._waits = self._waits or self._delays(_INCOMPLETE_SECONDS)
        wait_seconds = next(self._waits, None)
        await asyncio.sleep(wait_seconds or 0)
        return wait_seconds is None and self._quiet_joins >= _FEWEST_JOINS


def error_text(state: JSON) -> str:
    """The error of a failed task that a thread's state keeps; empty where there is none."""
    errors = [str(task["error"]) for task in state.get("tasks") or () if task.get("error")]
    return errors[0] if errors else ""
