"""What OpenAI's routes take, typed. Whatever a caller sets that is not taken is refused by name."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from agent.http.protocols.approvals import Answer
from agent.http.protocols.openai_pictures import KINDS as PICTURE_KINDS
from agent.http.protocols.openai_pictures import picture
from agent.http.schemas import LONGEST_MESSAGE, MOST_HISTORY
from agent.settings import settings
from client import InvalidRequest

JSON = dict[str, Any]
TextKind = Literal["text", "input_text", "output_text"]
_TEXT_KINDS = get_args(TextKind)
_OWN_TOOLS = "the agent has its own tools, and takes no others"
_WHY = {
    **dict.fromkeys(("tools", "tool_choice", "functions", "function_call"), _OWN_TOOLS),
    "max_tokens": "the server's settings limit an answer",
    "max_completion_tokens": "the server's settings limit an answer",
    "max_output_tokens": "the server's settings limit an answer",
    "messages": "give `input`",
}
# Values that ask for what happens anyway: clients send them without being told to.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "tools": ([],),
    "tool_choice": ("auto",),
    "parallel_tool_calls": (True,),
    "top_p": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "stop": ([],),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "text": ({}, {"format": {"type": "text"}}),
    "include": ([],),
    "metadata": ({},),
    "reasoning": ({},),
    "truncation": ("disabled",),
    "service_tier": ("auto", "default"),
}


class NotTaken(InvalidRequest):
    """A parameter that this server does not take; `param` is its name."""

    code = "unsupported_parameter"

    def __init__(self, param: str, why: str = "") -> None:
        super().__init__(f"{param!r} is not taken here: {why or 'leave it out'}.")
        self.param = param


class _Request(BaseModel):
    """Raises NotTaken for each parameter that is not null, not neutral and no field."""

    model_config = ConfigDict(extra="allow")
    neutral: ClassVar[Mapping[str, tuple[Any, ...]]] = _NEUTRAL

    @model_validator(mode="after")
    def _takes_all(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if value is not None and value not in self.neutral.get(name, ()):
                raise NotTaken(name, _WHY.get(name, ""))
        return self


class Part(BaseModel):
    """A part of a message's content: text, of one of the kinds that are."""

    type: TextKind
    text: str = Field(max_length=LONGEST_MESSAGE)


class Picture(BaseModel):
    """A picture in a message's content, as a content block."""

    type: Literal["image"]
    url: str | None = None
    base64: str | None = None
    mime_type: str | None = None


class Message(BaseModel):
    """One message of the caller's."""

    model_config = ConfigDict(extra="allow")

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: list[Part | Picture]

    @field_validator("role", mode="before")
    @classmethod
    def _is_no_tool(cls, role: Any) -> Any:
        if role in ("tool", "function"):
            raise NotTaken("messages", _OWN_TOOLS)
        return role

    @field_validator("content", mode="before")
    @classmethod
    def _parts(cls, content: Any) -> Any:
        if isinstance(content, str):
            return [{"type": "text", "text": content}]
        return list(map(_part, content)) if isinstance(content, list) else content

    @model_validator(mode="after")
    def _has_no_calls(self) -> Self:
        if (self.model_extra or {}).get("tool_calls"):
            raise NotTaken("tool_calls", _OWN_TOOLS)
        return self

    @model_validator(mode="after")
    def _shows_no_pictures(self) -> Self:
        if self.role != "user" and self.has_pictures:
            raise NotTaken("content", "pictures are the user's: others say texts")
        if self.has_pictures and settings().embedded:
            raise NotTaken("content", "the embedded model reads texts, and no pictures")
        return self

    @property
    def has_pictures(self) -> bool:
        return any(isinstance(part, Picture) for part in self.content)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content if isinstance(part, Part))

    @property
    def json_form(self) -> JSON:
        """As a run's input has it: a text, or content blocks."""
        if not self.has_pictures:
            return {"role": self.role, "content": self.text}
        blocks = [
            part.model_dump(exclude_none=True)
            if isinstance(part, Picture)
            else {"type": "text", "text": part.text}
            for part in self.content
        ]
        return {"role": self.role, "content": blocks}


def _part(part: Any) -> Any:
    """A part of a content, with a picture as a content block. Raises NotTaken."""
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in PICTURE_KINDS:
        try:
            return picture(part)
        except ValueError as error:
            raise NotTaken("content", str(error)) from error
    if kind is not None and kind not in _TEXT_KINDS:
        raise NotTaken("content", f"parts of the type {kind!r} are not, texts and pictures are")
    return part


def _check_last(messages: list[Message]) -> list[Message]:
    last = messages[-1] if messages else None
    if not last or last.role != "user" or not (last.text.strip() or last.has_pictures):
        raise ValueError("the last message must be the user's, and say something")
    return messages


Messages = Annotated[
    list[Message], Field(min_length=1, max_length=MOST_HISTORY), AfterValidator(_check_last)
]


class Conversation(BaseModel):
    """What a caller asks for, of the protocol's form: instructions aside, and the rest."""

    instructions: str | None
    messages: list[Message]

    @classmethod
    def of(cls, messages: Sequence[Message], instructions: str | None = None) -> Self:
        """Takes the system's messages for instructions, after those given."""
        is_system = [message.role in ("system", "developer") for message in messages]
        told = [m.text for m, is_one in zip(messages, is_system, strict=True) if is_one]
        text = "\n\n".join(filter(None, [instructions, *told]))
        said = [m for m, is_one in zip(messages, is_system, strict=True) if not is_one]
        return cls(instructions=text or None, messages=said)

    def context(self, temperature: float | None) -> JSON | None:
        """The run's context; None where nothing is chosen."""
        chosen = {"system_prompt": self.instructions, "temperature": temperature}
        return {name: value for name, value in chosen.items() if value is not None} or None


Model = Annotated[str, Field(min_length=1, max_length=200)]
Temperature = Annotated[float, Field(ge=0, le=2)]


class StreamOptions(_Request):
    """What a stream has beside its text."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class ChatRequest(_Request):
    """The body of `POST /v1/chat/completions`."""

    neutral = {**_NEUTRAL, "store": (False,)}

    model: Model
    messages: Messages
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None

    @property
    def has_usage(self) -> bool:
        """Whether a stream is to tell the token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ApprovalAnswer(BaseModel):
    """What a person says to an approval request."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["mcp_approval_response"]
    approval_request_id: str = Field(max_length=300)
    approve: bool
    reason: str | None = Field(default=None, max_length=LONGEST_MESSAGE)
    id: str | None = None

    @property
    def answer(self) -> Answer:
        return Answer(self.approval_request_id, self.approve, self.reason)


class ConversationParam(BaseModel):
    """A conversation by its id."""

    model_config = ConfigDict(extra="forbid")

    id: str


class ResponseRequest(_Request):
    """The body of `POST /v1/responses`: messages, or answers to approval requests."""

    model: Model
    input: list[Message | ApprovalAnswer]
    instructions: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    background: bool | None = None
    temperature: Temperature | None = None
    previous_response_id: str | None = None
    conversation: ConversationParam | None = None
    store: bool | None = None

    @field_validator("conversation", mode="before")
    @classmethod
    def _by_id(cls, conversation: Any) -> Any:
        return {"id": conversation} if isinstance(conversation, str) else conversation

    @field_validator("input", mode="before")
    @classmethod
    def _items(cls, given: Any) -> Any:
        if isinstance(given, str):
            return [{"role": "user", "content": given}]
        for item in given if isinstance(given, list) else ():
            kind = item.get("type", "message") if isinstance(item, dict) else "message"
            if kind not in ("message", "mcp_approval_response"):
                why = "the thread has what was said: name it by `previous_response_id`"
                raise NotTaken("input", f"items of the type {kind!r} are not, {why}")
        return given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.previous_response_id and self.conversation:
            raise NotTaken("conversation", "`previous_response_id` names the thread already")
        if self.store is False and (self.background or self.has_thread):
            raise NotTaken("store", "a response in the background, or on a thread, is stored")
        if not self.approvals:
            _check_last(self.messages)
        elif self.messages:
            raise NotTaken("input", "answer what waits for approval first, and then say more")
        return self

    @property
    def has_thread(self) -> bool:
        return bool(self.previous_response_id or self.conversation)

    @property
    def messages(self) -> list[Message]:
        return [item for item in self.input if isinstance(item, Message)]

    @property
    def approvals(self) -> list[Answer]:
        return [item.answer for item in self.input if isinstance(item, ApprovalAnswer)]
