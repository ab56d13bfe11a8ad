"""The chat routes in the server's OpenAPI document: what they stream, and how they fail.

The events are the client's dataclasses; the errors are its tree of errors.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel, Field, TypeAdapter

from agent.http.schemas import JSON
from client import SteadyError
from client.events import EVENT_TYPES

_REFERENCE = "#/components/schemas/{}"
_AGENT_EVENT, _CHAT_EVENT, _SSE = "AgentEvent", "ChatEvent", "text/event-stream"
_FAILURES = {
    400: "The body is not JSON.",
    401: "The token is missing or wrong.",
    403: "The token, or where the request comes from, does not allow this.",
    413: "The body, or a text in it, is too large.",
    422: "The body, the path or a header does not fit.",
    429: "One user asks for more than the limits allow: `Retry-After` says when to ask again.",
    500: "The run failed in the graph.",
    502: "The model endpoint failed.",
    503: "The server is not ready, or is being stopped: ask again.",
    504: "A time limit passed.",
}
_RUN_FAILURES = {
    **_FAILURES,
    404: "There is no such thread, run, assistant or interrupt.",
    409: "The thread is busy with another run.",
    410: "The run is lost, or its stream is no longer kept.",
}


def _codes(kind: type[SteadyError] = SteadyError) -> Iterator[str]:
    yield kind.code
    for below in kind.__subclasses__():
        yield from _codes(below)


class ErrorBody(BaseModel):
    """A request that was refused, or that failed before anything was streamed."""

    error: str = Field(description="What happened and what to do next, for a person.")
    code: str = Field(
        description="The failure's stable name.", json_schema_extra={"enum": [*_codes()]}
    )
    detail: str | None = Field(
        default=None, description="The same text, where the request did not reach its route."
    )


class ChatToken(BaseModel):
    """A piece of the answer."""

    token: str


class ChatDone(BaseModel):
    """The answer's end."""

    done: bool
    finish_reason: str | None = Field(
        default=None, description="Where the answer is not whole: length, content_filter, refusal."
    )


def agent_stream() -> dict[str, Any]:
    """How a route that streams a run is described: keyword arguments of `app.post`."""
    return _stream(_AGENT_EVENT, _RUN_FAILURES)


def chat_stream() -> dict[str, Any]:
    """How the route that streams the model alone is described."""
    return _stream(_CHAT_EVENT, _FAILURES)


def run_failures() -> dict[int | str, JSON]:
    """How a route about a run may fail: `responses` of `app.post`."""
    return _failures(_RUN_FAILURES)


def _failures(texts: dict[int, str]) -> dict[int | str, JSON]:
    return {
        status: {"model": ErrorBody, "description": text} for status, text in sorted(texts.items())
    }


def _stream(event_name: str, texts: dict[int, str]) -> dict[str, Any]:
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": _REFERENCE.format(event_name)},
    }
    item = {"type": "object", "required": ["data"], "properties": {"data": data}}
    stream = {"description": "Server-sent events.", "content": {_SSE: {"itemSchema": item}}}
    return {"response_class": Response, "responses": {200: stream, **_failures(texts)}}


class DescribedApp(FastAPI):
    """FastAPI, with the events of the streams among the document's schemas."""

    def openapi(self) -> JSON:
        """The OpenAPI document, which the LangGraph server merges into its own."""
        if not self.openapi_schema:
            super().openapi()["components"]["schemas"] |= _event_schemas()
        return super().openapi()


def _event_schemas() -> dict[str, JSON]:
    agent = {f"{kind.__name__}Event": _schema(kind, name) for name, kind in EVENT_TYPES.items()}
    chat = {kind.__name__: kind.model_json_schema() for kind in (ChatToken, ChatDone)}
    union = {**_one_of(agent), "discriminator": {"propertyName": "type"}}
    return {**agent, **chat, _AGENT_EVENT: union, _CHAT_EVENT: _one_of([*chat, "ErrorBody"])}


def _schema(kind: type, type_name: str) -> JSON:
    """The schema of an event's wire form, which has all of its fields and a `type`."""
    schema = TypeAdapter(kind).json_schema(mode="serialization")
    properties = {"type": {"type": "string", "const": type_name}, **schema["properties"]}
    description, _, _ = schema["description"].partition("\n\n")
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [*properties],
    }


def _one_of(names: Iterable[str]) -> JSON:
    return {"oneOf": [{"$ref": _REFERENCE.format(name)} for name in names]}
