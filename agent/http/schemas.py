"""What the chat routes take, typed: bodies of the HTTP routes, and frames of the WebSocket."""

import json
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from agent.settings import settings

LONGEST_MESSAGE = settings().steady_longest_message_characters
MOST_HISTORY = 1000  # messages

JSON = dict[str, Any]
Mode = Literal["values", "updates", "messages", "events"]
Modes = Annotated[
    list[Mode],
    Field(min_length=1, max_length=len(get_args(Mode))),
    AfterValidator(lambda modes: list(dict.fromkeys(modes))),
]
Strategy = Literal["reject", "enqueue", "interrupt", "rollback"]


def _say_something(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: say something")
    return text


def _writable(given: JSON) -> JSON:
    """Python reads NaN and Infinity in a body, and nothing behind this takes them."""
    try:
        json.dumps(given, allow_nan=False)
    except ValueError:
        raise ValueError("has a number that is none in JSON, such as NaN") from None
    return given


Given = Annotated[JSON, AfterValidator(_writable)]
Words = Annotated[str, Field(max_length=LONGEST_MESSAGE), AfterValidator(_say_something)]
Key = Annotated[
    str | None,
    Field(
        min_length=8,
        max_length=200,
        description="Sent again with the same key, it starts no second run.",
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Said(_Strict):
    """One message of a conversation that the caller keeps."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=LONGEST_MESSAGE)


class ChatQuestion(_Strict):
    """A question to the model alone; `history` is what was said before it, oldest first."""

    question: Words
    history: list[Said] = Field(default=[], max_length=MOST_HISTORY)


class AgentMessage(_Strict):
    """A message to the agent. Without `thread_id` it opens a new thread."""

    message: Words
    thread_id: UUID | None = None
    modes: Modes = ["messages"]
    assistant_id: str = Field(default="agent", min_length=1, max_length=200)
    context: Given | None = None
    multitask_strategy: Strategy = Field(
        default="reject", description="What to do when the thread is busy with another run."
    )
    checkpoint_id: str | None = Field(
        default=None, max_length=200, description="Go on from this earlier state of the thread."
    )
    replaces: str | None = Field(
        default=None, max_length=200, description="The id of the message this is said instead of."
    )
    on_disconnect: Literal["continue", "cancel"] = Field(
        default="continue", description="What becomes of the run when its reader leaves."
    )


class Decision(_Strict):
    """What a person decided about an interrupt: one decision for each of its requests."""

    thread_id: UUID
    interrupt_id: str = Field(min_length=1, max_length=200)
    decisions: list[Given] = Field(min_length=1, max_length=100)
    modes: Modes = ["messages"]
    assistant_id: str = Field(default="agent", min_length=1, max_length=200)
    context: Given | None = None


class OnThread(_Strict):
    """Answer the thread's last question anew, or go on with its unfinished run."""

    thread_id: UUID
    modes: Modes = ["messages"]
    assistant_id: str = Field(default="agent", min_length=1, max_length=200)
    context: Given | None = None


class RunPlace(_Strict):
    """One run of a thread."""

    thread_id: UUID
    run_id: UUID


class MessageFrame(_Strict):
    """The next turn. While an answer is running it waits for its end, or as its strategy says."""

    type: Literal["message"]
    content: Words
    modes: Modes = ["messages"]
    assistant_id: str = Field(default="agent", min_length=1, max_length=200)
    context: Given | None = None
    multitask_strategy: Strategy = "enqueue"
    checkpoint_id: str | None = Field(default=None, max_length=200)
    replaces: str | None = Field(default=None, max_length=200)
    key: Key = None


class StopFrame(_Strict):
    """Stops the answer that is running."""

    type: Literal["stop"]


class DecideFrame(_Strict):
    """Decides about an interrupt of the thread; the rest of the run follows."""

    type: Literal["decide"]
    interrupt_id: str = Field(min_length=1, max_length=200)
    decisions: list[Given] = Field(min_length=1, max_length=100)
    modes: Modes = ["messages"]
    assistant_id: str = Field(default="agent", min_length=1, max_length=200)
    context: Given | None = None
    key: Key = None


class RegenerateFrame(_Strict):
    """Answers the thread's last question anew."""

    type: Literal["regenerate"]
    modes: Modes = ["messages"]
    assistant_id: str = Field(default="agent", min_length=1, max_length=200)
    context: Given | None = None
    key: Key = None


class ResumeFrame(_Strict):
    """Goes on with the thread's run that its server left unfinished."""

    type: Literal["resume"]
    modes: Modes = ["messages"]
    assistant_id: str = Field(default="agent", min_length=1, max_length=200)
    context: Given | None = None
    key: Key = None


class PingFrame(_Strict):
    """Is answered with `{"type": "pong"}`."""

    type: Literal["ping"]


TurnFrame = MessageFrame | DecideFrame | RegenerateFrame | ResumeFrame
AnyFrame = TurnFrame | StopFrame | PingFrame
FRAME: TypeAdapter[AnyFrame] = TypeAdapter(Annotated[AnyFrame, Field(discriminator="type")])


def first_fault(errors: list[Any]) -> str:
    """pydantic's first error as one line: where it is, and what is wrong with it."""
    error = errors[0]
    place = ".".join(str(step) for step in error["loc"] if step not in ("body", "query", "path"))
    told = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {told}" if place else told
