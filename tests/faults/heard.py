"""What a reader was given by one stream, as he would keep it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from client.events import (
    JSON,
    AgentEvent,
    Done,
    Event,
    Retry,
    RunStarted,
    Token,
    ToolCall,
    ToolResult,
    Update,
    Values,
)
from tests.faults.truth import text_of


@dataclass
class Heard:
    """`texts` holds each message's text, in the order in which the messages began; `chunks` the
    same as the events of `events` mode tell it, and `ends` how often each message's end came.
    `waits` counts ends that wait for a person: the next run's events follow."""

    texts: dict[str, str] = field(default_factory=dict)
    chunks: dict[str, str] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    calls: list[ToolCall] = field(default_factory=list)
    results: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    values: JSON | None = None
    started: bool = False
    retries: int = 0
    events: int = 0
    waits: int = 0
    done: list[Done] = field(default_factory=list)
    after_done: int = 0

    def take(self, event: AgentEvent) -> None:
        """Keeps one event; a Retry makes him forget that message's text."""
        self.events += 1
        self.after_done += bool(self.done)
        match event:
            case Token(content=text, message_id=at):
                self.texts[at] = self.texts.get(at, "") + text
            case Retry(message_id=at):
                self.retries += 1
                self.texts.pop(at, None)
                self.chunks.pop(at, None)
            case ToolCall():
                self.calls.append(event)
            case ToolResult(id=call):
                self.results[call] += 1
            case Update(delta=delta):
                self.updates.update(_message_ids(delta))
            case Event(name="on_chat_model_stream", data={"chunk": chunk}):
                at, text = str(chunk["id"]), text_of(chunk["content"])
                self.chunks[at] = self.chunks.get(at, "") + text
            case Event(name="on_chat_model_end", data={"output": output}):
                self.ends[str(output["id"])] += 1
            case Values(state=state):
                self.values = state
            case RunStarted():
                self.started = True
            case Done(status="interrupted"):
                self.waits += 1
            case Done():
                self.done.append(event)


def _message_ids(delta: Any) -> list[str]:
    messages = (delta.get("messages") if isinstance(delta, dict) else None) or ()
    return [str(message.get("id")) for message in messages]
