"""The events of a run: frozen dataclasses to `match` on, and their JSON form.

match event:
    case Token(content=text): print(text, end="")
    case ToolCall(tool=name, args=args): ...
    case Done(status=status): ...
"""

import re
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

JSON = dict[str, Any]
Mode = Literal["values", "updates", "messages", "events"]
Status = Literal["success", "interrupted", "stopped", "timeout", "error"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The server accepted the run."""

    run_id: str
    thread_id: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Token:
    """Text of the answer meant for the person; one or more model tokens."""

    content: str
    message_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The model's reasoning, where it gives it."""

    content: str
    message_id: str
    node: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call's arguments, as they are written."""

    id: str
    tool: str
    args_text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete tool call."""

    id: str
    tool: str
    args: JSON
    node: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool answered."""

    id: str
    tool: str
    status: Literal["ok", "error"]
    content: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Custom data that a tool or node wrote."""

    data: Any


@dataclass(frozen=True, slots=True)
class Update:
    """`updates` mode: what one node changed."""

    node: str
    delta: Any


@dataclass(frozen=True, slots=True)
class Values:
    """`values` mode: the full state after a step."""

    state: JSON


@dataclass(frozen=True, slots=True)
class Event:
    """`events` mode: one LangChain event; `name` is its kind, `run_name` what it happened in."""

    name: str
    run_name: str
    data: JSON
    tags: list[str] = field(default_factory=list)
    metadata: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The run waits for a person's decision."""

    id: str
    requests: Any


@dataclass(frozen=True, slots=True)
class Retry:
    """The model is tried again: discard that message's partial text.

    `message_id` is empty where nothing of it had gone out.
    """

    attempt: int
    message_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one model call, where the model reports them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Error:
    """In-band failure; always followed by `Done`. `code` is one of `client.errors`' codes."""

    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Done:
    """Last event of every stream. Times are in milliseconds from the request's start.

    `finish_reason` is why the model ended its last message: stop, length (cut at the model's
    limit), content_filter, refusal or tool_calls. None: it did not say, or did not end.
    """

    status: Status
    run_id: str | None
    ttft_ms: int | None
    duration_ms: int
    finish_reason: str | None = None


AgentEvent = (
    RunStarted | Token | Reasoning | ToolCallDelta | ToolCall | ToolResult | Progress | Update
    | Values | Event | Interrupt | Retry | Usage | Error | Done
)  # fmt: skip

# by class: the `type` of its JSON, and the names of its fields
_FORMS: dict[type, tuple[str, tuple[str, ...]]] = {
    kind: (
        re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(),
        tuple(each.name for each in fields(kind)),
    )
    for kind in get_args(AgentEvent)
}


def to_json(event: AgentEvent) -> JSON:
    """The event's wire form: its fields and `type`, its class's name in snake_case.

    The fields are the event's own, not copies: a state of many messages is as cheap as a token.
    """
    kind, names = _FORMS[type(event)]
    return {"type": kind, **{name: getattr(event, name) for name in names}}
