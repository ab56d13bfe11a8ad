"""What the chat routes take, typed: bodies of the HTTP routes, and frames of the WebSocket.

Each field of a run has its name in `AgentClient`, whose methods take what is read here.
"""

import json
from typing import Annotated, Any, ClassVar, Literal, get_args
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    TypeAdapter,
)

from agent.settings import settings
from client import Mode

LONGEST_MESSAGE = settings().steady_longest_message_characters
MOST_HISTORY = 1000  # messages

JSON = dict[str, Any]
# methods of `AgentClient`
Action = Literal["stream", "decide", "resume", "regenerate", "continue_run"]
Modes = Annotated[
    list[Mode],
    Field(min_length=1, max_length=len(get_args(Mode))),
    AfterValidator(lambda modes: list(dict.fromkeys(modes))),
]
MultitaskStrategy = Literal["reject", "enqueue", "interrupt", "rollback"]


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty: say something")
    return text


def _check_numbers(value: JSON) -> JSON:
    """Python reads NaN and Infinity in a body, and nothing behind this takes them."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError("has a number that is none in JSON, such as NaN") from None
    return value


JSONObject = Annotated[JSON, AfterValidator(_check_numbers)]
Text = Annotated[str, Field(max_length=LONGEST_MESSAGE), AfterValidator(_check_not_blank)]
Id = Annotated[UUID, PlainSerializer(str)]
IdempotencyKey = Annotated[
    str | None,
    Field(
        min_length=8,
        max_length=200,
        description="Sent again with the same key, it starts no second run.",
    ),
]


_TEXT, _BLOCKS = "message-text", "message-blocks"  # no part of where an error is


def _form_of_message(message: Any) -> str:
    return _BLOCKS if isinstance(message, list) else _TEXT


class ContentBlock(BaseModel):
    """One of LangChain's content blocks: a text, an image, a file..."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(min_length=1, max_length=100)


Message = Annotated[
    Annotated[Text, Tag(_TEXT)]
    | Annotated[list[ContentBlock], Field(min_length=1, max_length=100), Tag(_BLOCKS)],
    Discriminator(_form_of_message),
    Field(description="What the person says: a text, or LangChain's content blocks."),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HistoryMessage(_Strict):
    """One message of a conversation that the caller keeps."""

    role: Literal["user", "assistant"]
    content: str = Field(max_length=LONGEST_MESSAGE)


class ChatQuestion(_Strict):
    """A question to the model alone; `history` is what was said before it, oldest first."""

    question: Text
    history: list[HistoryMessage] = Field(default=[], max_length=MOST_HISTORY)


class RunFields(_Strict):
    """What every run may be given, however it is asked for."""

    action: ClassVar[Action]

    modes: Modes = ["messages"]
    assistant_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Unset: that of the thread's last run, and `agent` for a new thread.",
    )
    context: JSONObject | None = None


class MessageFields(RunFields):
    """A message, and where it goes."""

    action = "stream"

    message: Message
    multitask_strategy: MultitaskStrategy = Field(
        default="reject", description="What to do when the thread is busy with another run."
    )
    checkpoint_id: str | None = Field(
        default=None, max_length=200, description="Go on from this earlier state of the thread."
    )
    replaces: str | None = Field(
        default=None, max_length=200, description="The id of the message this is said instead of."
    )


class DecisionFields(RunFields):
    """A person's decisions about an interrupt: one for each of its requests."""

    action = "decide"

    interrupt_id: str = Field(min_length=1, max_length=200)
    decisions: list[JSONObject] = Field(min_length=1, max_length=100)


class AnswerFields(RunFields):
    """What a run's interrupts are answered, whatever they ask for."""

    action = "resume"

    answers: JSONObject = Field(
        min_length=1, max_length=100, description="By the interrupt's id, any JSON value."
    )


class MessageBody(MessageFields):
    """A message to the agent. Without `thread_id` it opens a new thread."""

    thread_id: Id | None = None
    on_disconnect: Literal["continue", "cancel"] = Field(
        default="continue", description="What becomes of the run when its reader leaves."
    )


class DecisionBody(DecisionFields):
    """What a person decided about an interrupt: one decision for each of its requests."""

    thread_id: Id


class AnswerBody(AnswerFields):
    """The answers to what a run waits for: any JSON value for each interrupt."""

    thread_id: Id


class RegenerateBody(RunFields):
    """Answers the thread's last question anew."""

    action = "regenerate"

    thread_id: Id


class ContinueRunBody(RunFields):
    """Continues the thread's run that its server left unfinished."""

    action = "continue_run"

    thread_id: Id


RunBody = MessageBody | DecisionBody | AnswerBody | RegenerateBody | ContinueRunBody


class RunRef(_Strict):
    """One run of a thread."""

    thread_id: Id
    run_id: Id


class MessageFrame(MessageFields):
    """The next turn. While an answer is running it waits for its end, or as its strategy says."""

    type: Literal["message"]
    multitask_strategy: MultitaskStrategy = "enqueue"
    idempotency_key: IdempotencyKey = None


class DecideFrame(DecisionFields):
    """Decides about an interrupt of the thread; the rest of the run follows."""

    type: Literal["decide"]
    idempotency_key: IdempotencyKey = None


class ResumeFrame(AnswerFields):
    """Answers what the thread's run waits for; the rest of the run follows."""

    type: Literal["resume"]
    idempotency_key: IdempotencyKey = None


class RegenerateFrame(RunFields):
    """Answers the thread's last question anew."""

    action = "regenerate"

    type: Literal["regenerate"]
    idempotency_key: IdempotencyKey = None


class ContinueRunFrame(RunFields):
    """Continues the thread's run that its server left unfinished."""

    action = "continue_run"

    type: Literal["continue_run"]
    idempotency_key: IdempotencyKey = None


class StopFrame(_Strict):
    """Stops the answer that is running."""

    type: Literal["stop"]


class PingFrame(_Strict):
    """Is answered with `{"type": "pong"}`."""

    type: Literal["ping"]


TurnFrame = MessageFrame | DecideFrame | ResumeFrame | RegenerateFrame | ContinueRunFrame
AnyFrame = TurnFrame | StopFrame | PingFrame
FRAME: TypeAdapter[AnyFrame] = TypeAdapter(Annotated[AnyFrame, Field(discriminator="type")])


_UNTOLD_STEPS = ("body", "query", "path", _TEXT, _BLOCKS)


def first_error(errors: list[Any]) -> str:
    """pydantic's first error as one line: where it is, and what is wrong with it."""
    error = errors[0]
    path = ".".join(str(step) for step in error["loc"] if step not in _UNTOLD_STEPS)
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
