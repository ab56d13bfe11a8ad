"""From the parts of the server's stream to events. Pure: no I/O.

The LangGraph server names its parts `metadata`, `error`, and as their modes; a subgraph's carry
its path behind a `|`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from langgraph_sdk.schema import StreamMode

from ..errors import from_run
from ..events import (
    JSON,
    AgentEvent,
    Checkpoint,
    Debug,
    Event,
    Mode,
    Progress,
    Reasoning,
    Retry,
    RunStarted,
    Task,
    ToolCallDelta,
    Update,
    Usage,
    Values,
)
from .answer import Answer
from .audience import Audience, path_of
from .messages import reasoning_of, text_of, tool_result
from .protocol_events import ProtocolEvents, is_protocol_event
from .snapshot import Snapshot

WIRE_MODES: dict[Mode, StreamMode] = {
    "values": "values",
    "updates": "updates",
    "messages": "messages-tuple",
    "events": "events",
    "custom": "custom",
    "debug": "debug",
    "checkpoints": "checkpoints",
    "tasks": "tasks",
}
PART_NAMES = frozenset({"metadata", *get_args(Mode)})
_OF_STEPS: dict[str, Callable[[Any, str], AgentEvent]] = {
    "debug": Debug,
    "checkpoints": Checkpoint,
    "tasks": Task,
}
_RETRY_FIELDS = {"type", "attempt", "message_id", "reason"}  # of an agent's custom data
_STOPPED = ("UserInterrupt", "UserRollback")  # what the server raises in a run that is cancelled


@dataclass
class Decoder:
    """Turns parts into events, in order; it remembers which message each piece belongs to.

    Args:
        thread_id: the run's thread, for `RunStarted`.
        audience: whose messages are shown to the person. Default: everyone's but those within
            tools and middleware.

    Attributes:
        answer: the messages and tool calls of the run so far, in whichever modes it is streamed.
            Model calls that are not shown to the person are no part of it.
        stopped: whether the run was cancelled.
        is_resumed: whether it began in the middle of the run, from a snapshot.
    """

    thread_id: str | None = None
    audience: Audience = field(default_factory=Audience)
    run_id: str | None = None
    attempt: int = 1
    stopped: bool = False
    is_resumed: bool = False
    answer: Answer = field(default_factory=Answer)
    _calls: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    _protocol: ProtocolEvents = field(default_factory=ProtocolEvents)

    def __post_init__(self) -> None:
        self.answer.is_narrowed = self.audience.is_narrowed

    def snapshot(self, usage: Usage) -> Snapshot | None:
        """What a decoder needs to go on from here; None where that is more than a snapshot holds.

        For runs in the usual stream modes. `usage` is the run's so far.
        """
        known = self.answer.known()
        if known is None or self.audience.is_narrowed:
            return None
        attempt = self.attempt if self.run_id else 0
        return Snapshot(attempt, self.answer.finish_reason, usage, known)

    def resume(self, snapshot: Snapshot, run_id: str | None) -> None:
        """Goes on where another decoder of the same run was."""
        self.is_resumed, self.answer.finish_reason = True, snapshot.finish_reason
        if snapshot.attempt:
            self.attempt, self.run_id = snapshot.attempt, run_id
        self.answer.resume(snapshot.messages)

    def decode(self, name: str, data: Any) -> Iterator[AgentEvent]:
        """The events of one part. Raises SteadyError where it is an `error` part."""
        if is_protocol_event(data):
            for part_name, part_data in self._protocol.parts(data):
                yield from self.decode(part_name, part_data)
            return
        kind, _, path = name.partition("|")
        match kind:
            case "metadata":
                yield from self._started(data)
            case "messages":
                yield from self._message(*data)
            case "updates" | "values" if path:
                pass  # an inner graph's state is no part of this one's
            case "updates":
                yield from self._updates(data)
            case "values" if not _is_interrupt_only(data):
                self.answer.read_state(data)
                yield Values(data)
            case "events":
                shown = self.audience.is_shown(data.get("metadata") or {}, data.get("tags") or ())
                self.answer.read_event(data, shown)
                yield _event(data)
            case "custom" if _is_retry(data):
                self.answer.discard(str(data["message_id"]))
                yield Retry(data["attempt"], str(data["message_id"] or ""), data["reason"])
            case "custom":
                yield Progress(data)
            case "debug" | "checkpoints" | "tasks":
                yield _OF_STEPS[kind](data, path)
            case "error" if data.get("error") in _STOPPED:
                self.stopped = True
            case "error":
                raise from_run(str(data.get("error")), str(data.get("message")))

    def _started(self, data: JSON) -> Iterator[AgentEvent]:
        before = self.attempt if self.run_id else 0  # another worker's, or a lost run's
        self.run_id, self.attempt = data.get("run_id"), max(data.get("attempt") or 1, before + 1)
        yield RunStarted(str(self.run_id), self.thread_id, self.attempt)
        yield from self.answer.drop_unfinished(self.attempt, "the server runs it again")

    def _updates(self, data: JSON) -> Iterator[AgentEvent]:
        for node, delta in data.items():
            if node in ("__interrupt__", "__metadata__"):
                continue
            self.answer.read_delta(delta)
            yield Update(node, delta)

    def _message(self, message: JSON, metadata: JSON) -> Iterator[AgentEvent]:
        node = path_of(metadata)
        match message.get("type"):
            case "AIMessageChunk" if self.audience.is_shown(metadata):
                self.answer.begin(str(message.get("id")))
                yield from self._chunk(message, node)
            case "ai" if self.audience.is_shown(metadata):
                yield from self._whole(message, node)
            case "tool" | "ToolMessageChunk" if self.audience.is_result_shown(metadata):
                self.answer.note_seen(message)
                yield tool_result(message)
            case _:
                self.answer.note_seen(message)

    def _chunk(self, message: JSON, node: str) -> Iterator[AgentEvent]:
        message_id = str(message.get("id"))
        if reasoning := reasoning_of(message):
            yield Reasoning(reasoning, message_id, node)
        if text := text_of(message):
            self.answer.add_text(message_id, text)
            yield self.answer.token(message_id, text, node)
        for piece in message.get("tool_call_chunks") or ():
            yield from self._call_piece(message_id, piece)
        if message.get("response_metadata"):
            self.answer.note_end(message)
        if usage := message.get("usage_metadata"):
            yield Usage(usage["input_tokens"], usage["output_tokens"])
        if message.get("chunk_position") == "last":
            yield from self.answer.finish(message_id, node)

    def _call_piece(self, message_id: str, piece: JSON) -> Iterator[AgentEvent]:
        number = (message_id, piece.get("index") or 0)
        if piece.get("id"):
            self._calls[number] = (piece["id"], piece.get("name") or "")
        call_id, tool = self._calls.get(number, ("", ""))
        self.answer.add_call_text(message_id, call_id, tool, piece.get("args") or "")
        if piece.get("args"):
            yield ToolCallDelta(call_id, tool, piece["args"])

    def _whole(self, message: JSON, node: str) -> Iterator[AgentEvent]:
        """A message that no model streamed: a node wrote it whole."""
        if self.answer.has(message):
            self.answer.read_message(message)
        else:
            yield from self.answer.whole_message(message, node)


def _is_interrupt_only(data: Any) -> bool:
    """Whether `values` tell of an interrupt alone. A graph's state may be no object at all."""
    return isinstance(data, dict) and data.keys() == {"__interrupt__"}


def _is_retry(data: Any) -> bool:
    return isinstance(data, dict) and data.keys() == _RETRY_FIELDS and data["type"] == "retry"


def _event(data: JSON) -> Event:
    return Event(
        name=data["event"],
        run_name=data.get("name", ""),
        data=data.get("data") or {},
        tags=data.get("tags") or [],
        metadata=data.get("metadata") or {},
    )
