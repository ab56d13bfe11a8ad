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
Mode = Literal["values", "updates", "messages", "events", "custom", "debug", "checkpoints", "tasks"]
Status = Literal["success", "interrupted", "stopped", "timeout", "error"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The server accepted the run.

    Attributes:
        run_id: the run's id, for `AgentClient.runs`.
        thread_id: the thread's id; None where the server has not named it.
        attempt: 1, and one more each time the server runs it again, or a lost run is restarted.
    """

    run_id: str
    thread_id: str | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Token:
    """Text of the answer meant for the person; one or more model tokens.

    Attributes:
        content: the text, which follows that of the message's tokens before it.
        message_id: the message that it is part of.
        node: the graph's node that the model was called in; of a graph within it, the path, such as
            `researcher|model`.
    """

    content: str
    message_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The model's reasoning, where it gives it.

    Attributes:
        content: the text, which follows that of the message's reasoning before it.
        message_id: the message that it belongs to.
        node: the graph's node that the model was called in; of a graph within it, the path, such as
            `researcher|model`.
    """

    content: str
    message_id: str
    node: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a tool call's arguments, as they are written.

    Attributes:
        id: the call's id.
        tool: the tool's name.
        args_text: a piece of the arguments' JSON text.
    """

    id: str
    tool: str
    args_text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete tool call.

    Attributes:
        id: the call's id; its `ToolResult` has the same.
        tool: the tool's name.
        args: the arguments.
        node: the graph's node that the model was called in; of a graph within it, the path, such as
            `researcher|model`.
    """

    id: str
    tool: str
    args: JSON
    node: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool answered.

    Attributes:
        id: the call's id.
        tool: the tool's name.
        status: `ok` or `error`.
        content: the text of the result, or of the error, as the model reads it.
        media: its pictures, files and sounds, as LangChain's content blocks, such as
            `{"type": "image", "base64": ..., "mime_type": "image/png"}`. Default: none.
    """

    id: str
    tool: str
    status: Literal["ok", "error"]
    content: str
    media: list[JSON] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Progress:
    """Custom data that a tool or node wrote.

    Attributes:
        data: any JSON value.
    """

    data: Any


@dataclass(frozen=True, slots=True)
class Update:
    """`updates` mode: what one node changed.

    Attributes:
        node: the node's name.
        delta: what it returned: any JSON value, mostly an object of the state's changed keys.
    """

    node: str
    delta: Any


@dataclass(frozen=True, slots=True)
class Values:
    """`values` mode: the full state after a step.

    Attributes:
        state: the state's values by their keys; another JSON value where a graph's state is one.
    """

    state: Any


@dataclass(frozen=True, slots=True)
class Event:
    """`events` mode: one LangChain event.

    Attributes:
        name: its kind, such as `on_tool_end`.
        run_name: the name of the model, tool, node or graph that it happened in.
        data: its data: `input`, `output` or `chunk`.
        tags: the tags of what it happened in. Default: none.
        metadata: the metadata of what it happened in. Default: none.
    """

    name: str
    run_name: str
    data: JSON
    tags: list[str] = field(default_factory=list)
    metadata: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Debug:
    """`debug` mode: a step of the graph, as LangGraph tells it.

    Attributes:
        data: an object with `type` (checkpoint, task or task_result), `step` and `payload`.
        namespace: the inner graph, as LangGraph names it; empty, the default: the graph itself.
    """

    data: JSON
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`checkpoints` mode: a checkpoint that the graph made.

    Attributes:
        data: its `values`, `next`, `tasks` and `metadata`.
        namespace: see `Debug`. Default: empty.
    """

    data: JSON
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """`tasks` mode: a node's task has begun or ended.

    Attributes:
        data: its `id`, `name` and `input`; at its end `result`, `error` and `interrupts`.
        namespace: see `Debug`. Default: empty.
    """

    data: JSON
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The run waits for a person's decision, or for any other answer.

    Attributes:
        id: the interrupt's id, for `AgentClient.decide` and `AgentClient.resume`.
        requests: what is asked: any JSON value. From LangChain's human-in-the-loop middleware, an
            object with `action_requests` and `review_configs`, or, where it asks about each call by
            itself, one with the `type` `tool_approval`.
        response_schema: the JSON schema of the answer. None, the default: anything.
    """

    id: str
    requests: Any
    response_schema: JSON | None = None


@dataclass(frozen=True, slots=True)
class StructuredResponse:
    """What a graph with a `response_format` answers, at the run's end.

    Attributes:
        value: any JSON value, of the form that the graph was made with.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class Retry:
    """The model is tried again: discard that message's partial text.

    Attributes:
        attempt: the number of the try that follows; the first is 1.
        message_id: the message whose text is discarded; empty where nothing of it had gone out.
        reason: why, for a person.
    """

    attempt: int
    message_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one model call, where the model reports them.

    Attributes:
        input_tokens: how many tokens it read.
        output_tokens: how many tokens it wrote.
    """

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Error:
    """A failure told in the stream; always followed by `Done`.

    The client raises failures as SteadyError; the chat routes and `Run.failure` give them as this.

    Attributes:
        code: the `code` of a type in the tree of errors.
        message: what happened and what to do next, for a person.
        retryable: whether trying again may help.
    """

    code: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of every stream.

    Attributes:
        status: `success`, `interrupted` (it waits for a person), `stopped`, `timeout` or `error`.
        run_id: the run; None where none was started.
        ttft_ms: milliseconds from the request to the first text; None where there was no text.
        duration_ms: milliseconds from the request to this event.
        finish_reason: why the model ended its last message: stop, length (cut at the model's
            limit), content_filter, refusal or tool_calls. None, the default: it did not say, or did
            not end.
    """

    status: Status
    run_id: str | None
    ttft_ms: int | None
    duration_ms: int
    finish_reason: str | None = None


# of a `finish_reason` that tells of an answer that is not whole
FINISH_WORDS = {
    "length": "cut at the model's limit",
    "content_filter": "stopped by the model's content filter",
    "refusal": "refused by the model",
}

AgentEvent = (
    RunStarted | Token | Reasoning | ToolCallDelta | ToolCall | ToolResult | Progress | Update
    | Values | Event | Debug | Checkpoint | Task | Interrupt | StructuredResponse | Retry | Usage
    | Error | Done
)  # fmt: skip

# by class: the `type` of its JSON, and the names of its fields
_FORMS: dict[type, tuple[str, tuple[str, ...]]] = {
    kind: (
        re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower(),
        tuple(each.name for each in fields(kind)),
    )
    for kind in get_args(AgentEvent)
}


EVENT_TYPES = {type_name: kind for kind, (type_name, _) in _FORMS.items()}


def to_json(event: AgentEvent) -> JSON:
    """The event's wire form: its fields and `type`, its class's name in snake_case.

    Args:
        event: the event. Its fields are handed on, not copied: a state of many messages is as cheap
            as a token.

    Returns:
        An object that `json.dumps` takes, and that `from_json` reads.
    """
    kind, names = _FORMS[type(event)]
    return {"type": kind, **{name: getattr(event, name) for name in names}}


def from_json(data: JSON) -> AgentEvent | None:
    """The event of a wire form, such as the chat routes and `steady run --json` write.

    Args:
        data: an object with `type` and the event's fields. Fields that the event does not have are
            left out, so that what a newer server adds does no harm.

    Returns:
        The event; None where its type is none of this version's.

    Raises:
        ValueError: it is no object with a `type`, or a field is missing.
    """
    type_name = data.get("type") if isinstance(data, dict) else None
    if not isinstance(type_name, str):
        raise ValueError("This is no event: an event is a JSON object with a text as its `type`.")
    if (kind := EVENT_TYPES.get(type_name)) is None:
        return None
    given = {name: data[name] for name in _FORMS[kind][1] if name in data}
    try:
        event: AgentEvent = kind(**given)
    except TypeError as error:
        raise ValueError(f"The event {type_name!r} is not whole: {error}.") from error
    return event
