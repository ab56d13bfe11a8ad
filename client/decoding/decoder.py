"""From the server's stream parts to events. Pure: no I/O.

The LangGraph server names its parts `metadata`, `values`, `updates`, `messages`, `events`,
`custom` and `error`; a subgraph's carry its path behind a `|`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from langgraph_sdk.schema import StreamMode

from ..errors import from_run
from ..events import (
    JSON,
    AgentEvent,
    Event,
    Mode,
    Progress,
    Reasoning,
    Retry,
    RunStarted,
    ToolCall,
    ToolCallDelta,
    Update,
    Usage,
    Values,
)
from .answer import Answer
from .messages import reasoning_of, text_of, tool_result

WIRE_MODES: dict[Mode, StreamMode] = {
    "values": "values",
    "updates": "updates",
    "messages": "messages-tuple",
    "events": "events",
}
PART_NAMES = frozenset({"metadata", "values", "updates", "messages", "events", "custom"})
_RETRY = {"type", "attempt", "message_id", "reason"}  # an agent's custom data that tells of one
_STOPPED = ("UserInterrupt", "UserRollback")  # what the server raises in a run that is cancelled


@dataclass
class Decoder:
    """Turns parts into events, in order; it remembers which message each piece belongs to.

    `answer` holds what the run has said and called so far, in whichever modes it is streamed. What
    a model says to the program and not to the person is no part of it: see `is_internal`; `nodes`,
    where given, are the only ones that speak to the person.
    """

    thread_id: str | None = None
    nodes: frozenset[str] | None = None
    run_id: str | None = None
    attempt: int = 1
    stopped: bool = False
    answer: Answer = field(default_factory=Answer)
    _calls: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)

    def decode(self, name: str, data: Any) -> Iterator[AgentEvent]:
        """The events of one part. Raises SteadyError for the server's `error` part."""
        match name.partition("|")[0]:
            case "metadata":
                yield from self._started(data)
            case "messages":
                yield from self._message(*data)
            case "updates":
                yield from self._updates(data)
            case "values" if data.keys() != {"__interrupt__"}:
                self.answer.read_state(data)
                yield Values(data)
            case "events":
                is_for_the_person = self._is_for_the_person(data.get("metadata") or {})
                self.answer.read_event(data, is_for_the_person)
                yield _event(data)
            case "custom" if _tells_of_retry(data):
                self.answer.discard(str(data["message_id"]))
                yield Retry(data["attempt"], str(data["message_id"] or ""), data["reason"])
            case "custom":
                yield Progress(data)
            case "error" if data.get("error") in _STOPPED:
                self.stopped = True
            case "error":
                raise from_run(str(data.get("error")), str(data.get("message")))

    def _started(self, data: JSON) -> Iterator[AgentEvent]:
        before = self.attempt if self.run_id else 0  # another worker's, or a lost run's
        self.run_id, self.attempt = data.get("run_id"), max(data.get("attempt") or 1, before + 1)
        yield RunStarted(str(self.run_id), self.thread_id, self.attempt)
        yield from self.answer.begin_again(self.attempt, "the server runs it again")

    def _updates(self, data: JSON) -> Iterator[AgentEvent]:
        for node, delta in data.items():
            if node == "__interrupt__":
                continue
            self.answer.read_delta(delta)
            yield Update(node, delta)

    def _message(self, message: JSON, metadata: JSON) -> Iterator[AgentEvent]:
        node = str(metadata.get("langgraph_node", ""))
        match message.get("type"):
            case "AIMessageChunk" if self._is_for_the_person(metadata):
                self.answer.begin(str(message.get("id")))
                yield from self._chunk(message, node)
            case "ai" if self._is_for_the_person(metadata):
                yield from self._whole(message, node)
            case "tool" | "ToolMessageChunk":
                self.answer.notice(message)
                yield tool_result(message)
            case _:
                self.answer.notice(message)

    def hears(self, node: str) -> bool:
        """Whether this node may speak to the person."""
        return self.nodes is None or node in self.nodes

    def _is_for_the_person(self, metadata: JSON) -> bool:
        if self.nodes is not None:
            return self.hears(str(metadata.get("langgraph_node")))
        return not is_internal(metadata)

    def _chunk(self, message: JSON, node: str) -> Iterator[AgentEvent]:
        at = str(message.get("id"))
        if thought := reasoning_of(message):
            yield Reasoning(thought, at, node)
        if text := text_of(message):
            self.answer.add_text(at, text)
            yield self.answer.tell(at, text, node)
        for piece in message.get("tool_call_chunks") or ():
            yield from self._piece(at, piece)
        if usage := message.get("usage_metadata"):
            yield Usage(usage["input_tokens"], usage["output_tokens"])
        if message.get("chunk_position") == "last":
            yield from self._complete_calls(at, node)

    def _piece(self, message_id: str, piece: JSON) -> Iterator[AgentEvent]:
        place = (message_id, piece.get("index") or 0)
        if piece.get("id"):
            self._calls[place] = (piece["id"], piece.get("name") or "")
        call_id, tool = self._calls.get(place, ("", ""))
        self.answer.add_call_text(message_id, call_id, tool, piece.get("args") or "")
        if piece.get("args"):
            yield ToolCallDelta(call_id, tool, piece["args"])

    def _complete_calls(self, message_id: str, node: str) -> Iterator[AgentEvent]:
        for call in self.answer.finish(message_id):
            yield ToolCall(call["id"], call["name"], call["args"], node)

    def _whole(self, message: JSON, node: str) -> Iterator[AgentEvent]:
        """A message that no model streamed: a node wrote it whole."""
        if self.answer.knows(message):
            self.answer.read_message(message)
        else:
            yield from self.answer.tell_whole(message, node)


def _tells_of_retry(data: Any) -> bool:
    return isinstance(data, dict) and data.keys() == _RETRY and data["type"] == "retry"


def is_internal(metadata: JSON) -> bool:
    """Whether a model call with this metadata speaks to the program, not to the person.

    So do calls inside tools (LangGraph's node `tools`), in graphs that a node calls (their
    checkpoint namespace is a path), and in middleware, whose nodes LangChain names `Class.hook`;
    `lc_source` is where LangChain says that a call is a summary.
    """
    node = str(metadata.get("langgraph_node", ""))
    is_nested = "|" in str(metadata.get("langgraph_checkpoint_ns", ""))
    return node == "tools" or is_nested or "." in node or "lc_source" in metadata


def _event(data: JSON) -> Event:
    return Event(
        name=data["event"],
        run_name=data.get("name", ""),
        data=data.get("data") or {},
        tags=data.get("tags") or [],
        metadata=data.get("metadata") or {},
    )
