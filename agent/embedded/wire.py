"""The OpenAI chat completion wire: requests in, chunks and errors out. Pure."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

Json = dict[str, Any]


class BadRequest(ValueError):
    """A request that cannot be served; `code` is OpenAI's code for the reason."""

    def __init__(self, message: str, code: str = "invalid_request", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class FunctionCall(BaseModel):
    name: str
    arguments: str = "{}"


class ToolCall(BaseModel):
    id: str = ""
    function: FunctionCall


class Message(BaseModel):
    """One message of the conversation; text parts are joined into `content`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    tool_call_id: str = ""

    @field_validator("content", mode="before")
    @classmethod
    def _join_parts(cls, content: object) -> object:
        if content is None:
            return ""
        if isinstance(content, list):
            return "".join(_part_text(part) for part in content)
        return content

    @field_validator("tool_calls", mode="before")
    @classmethod
    def _no_calls(cls, calls: object) -> object:
        return calls or []


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and isinstance(part.get("text"), str):
        return str(part["text"])
    raise ValueError("only text parts are understood by the embedded model")


class Function(BaseModel):
    """A function the model may call; `parameters` is its JSON schema."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    description: str = ""
    parameters: Json = Field(default_factory=dict)

    @field_validator("description", "parameters", mode="before")
    @classmethod
    def _absent(cls, value: object, info: Any) -> object:
        return (
            value if value is not None else {"description": "", "parameters": {}}[info.field_name]
        )


class Tool(BaseModel):
    type: Literal["function"] = "function"
    function: Function


class StreamOptions(BaseModel):
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """The fields of a chat completion request that are honoured; others are ignored."""

    messages: list[Message] = Field(min_length=1)
    model: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Json | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    response_format: Json | None = None

    @property
    def functions(self) -> list[Function]:
        """The functions on offer: none when `tool_choice` forbids them."""
        return [] if self.tool_choice == "none" else [tool.function for tool in self.tools or []]

    @property
    def forced(self) -> str | None:
        """The name of the function that must be called, "" when any will do, else None."""
        if self.tool_choice in ("required", "any"):
            return ""
        if isinstance(self.tool_choice, dict):
            return self._named(self.tool_choice)
        return None

    def _named(self, choice: Json) -> str:
        name = (choice.get("function") or {}).get("name")
        if not any(tool.name == name for tool in self.functions):
            raise BadRequest(f"tool_choice names {name!r}, which is not among the tools")
        return str(name)

    @property
    def schema_wanted(self) -> Json | None:
        """The JSON schema that the answer must fit, if any."""
        wanted = self.response_format or {}
        if wanted.get("type") == "json_schema":
            return dict((wanted.get("json_schema") or {}).get("schema") or {"type": "object"})
        return {"type": "object"} if wanted.get("type") == "json_object" else None

    @property
    def token_limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


def parse(body: bytes) -> ChatRequest:
    """Read a request body; raises BadRequest with the first thing that is wrong."""
    try:
        request = ChatRequest.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BadRequest(f"{where}: {first['msg']}") from error
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if request.forced is not None and not request.functions:
        raise BadRequest("tool_choice asks for a call, but there are no tools")
    return request


def error_body(message: str, code: str, kind: str = "invalid_request_error") -> Json:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@dataclass(frozen=True)
class Usage:
    """Token counts of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def as_json(self) -> Json:
        total = self.prompt_tokens + self.completion_tokens
        return {**vars(self), "total_tokens": total}


@dataclass(frozen=True)
class Text:
    """A piece of the answer's text."""

    content: str


@dataclass(frozen=True)
class CallStarted:
    """A function was chosen; its arguments follow."""

    id: str
    name: str


@dataclass(frozen=True)
class Arguments:
    """A piece of the chosen function's arguments, as JSON text."""

    content: str


@dataclass(frozen=True)
class Finished:
    """The end of every answer; reason is stop, length or tool_calls."""

    reason: str
    usage: Usage


Part = Text | CallStarted | Arguments | Finished


class Answer:
    """Names one answer, and puts its parts into OpenAI's shapes."""

    def __init__(self, id: str, model: str) -> None:
        self._head = {"id": id, "created": int(time.time()), "model": model}

    def chunk(self, part: Part) -> Json:
        """One `chat.completion.chunk`."""
        choice = {"index": 0, "delta": _delta(part), "finish_reason": None}
        if isinstance(part, Finished):
            choice["finish_reason"] = part.reason
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def opening(self) -> Json:
        """The first chunk: it says that the assistant speaks."""
        chunk = self.chunk(Text(""))
        chunk["choices"][0]["delta"]["role"] = "assistant"
        return chunk

    def usage_chunk(self, usage: Usage) -> Json:
        """The last chunk, if the request has `include_usage`."""
        head = {**self._head, "object": "chat.completion.chunk"}
        return {**head, "choices": [], "usage": usage.as_json()}

    def whole(self, parts: Sequence[Part]) -> Json:
        """The `chat.completion` that the parts make together."""
        end = next(part for part in parts if isinstance(part, Finished))
        choice = {"index": 0, "message": _message(parts), "finish_reason": end.reason}
        head = {**self._head, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": end.usage.as_json()}


def _delta(part: Part) -> Json:
    match part:
        case Text(content):
            return {"content": content}
        case CallStarted(id, name):
            function = {"name": name, "arguments": ""}
            return {
                "tool_calls": [{"index": 0, "id": id, "type": "function", "function": function}]
            }
        case Arguments(content):
            return {"tool_calls": [{"index": 0, "function": {"arguments": content}}]}
        case Finished():
            return {}


def _message(parts: Sequence[Part]) -> Json:
    text = "".join(part.content for part in parts if isinstance(part, Text))
    message: Json = {"role": "assistant", "content": text or None}
    for part in parts:
        if isinstance(part, CallStarted):
            arguments = "".join(p.content for p in parts if isinstance(p, Arguments))
            function = {"name": part.name, "arguments": arguments}
            message["tool_calls"] = [{"id": part.id, "type": "function", "function": function}]
    return message
