"""OpenAI's routes: `/v1/models`, `/v1/chat/completions` and `/v1/responses`."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from agent.access.gate import error_forms
from agent.http.as_user import AsUser
from agent.http.protocols.base import RunStream, as_json, created_at, joined_id
from agent.http.protocols.continuation import Continuation, continuation
from agent.http.protocols.openai_chat import ChatChunks
from agent.http.protocols.openai_errors import error_form
from agent.http.protocols.openai_models import (
    assistant_of,
    model_of,
    response_of,
    thread_by_headers,
)
from agent.http.protocols.openai_requests import (
    ChatRequest,
    Conversation,
    NotTaken,
    ResponseRequest,
)
from agent.http.protocols.openai_runs import Responses
from agent.http.schemas import IdempotencyKey
from agent.settings import settings
from client import InvalidRequest, NotFound

Key = Annotated[IdempotencyKey, Header(alias="Idempotency-Key")]
After = Annotated[int | None, Query(ge=-1)]
_STREAM: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"content": {"text/event-stream": {}, "application/json": {}}}},
}

_OF_GET = ("stream", "starting_after")
_NEUTRAL_OF_GET = (("include_obfuscation", "false"),)

router = APIRouter(prefix="/v1", tags=["OpenAI"])
error_forms[f"{router.prefix}/"] = error_form


@router.get("/models")
async def list_models(chat: AsUser) -> Response:
    """The assistants."""
    models = [model_of(each).model_dump() for each in await chat.agent.assistants()]
    return JSONResponse({"object": "list", "data": models})


@router.get("/models/{model}")
async def get_model(model: str, chat: AsUser) -> Response:
    """One assistant."""
    return _answer(model_of(await assistant_of(chat.agent, model)))


@router.post("/chat/completions", **_STREAM)
async def complete_chat(
    body: ChatRequest, request: Request, chat: AsUser, idempotency_key: Key = None
) -> Response:
    """Answers a conversation: on the thread that a header names, or on none that is kept."""
    asked = Conversation.of(body.messages)
    messages = [message.json_form for message in asked.messages]
    thread_id = await thread_by_headers(chat, request.headers)
    place = Continuation(None, messages)
    if thread_id is not None:
        place = await continuation(chat.agent, thread_id, messages)
    fields = {
        "message": place.messages[-1]["content"],
        "history": place.messages[:-1],
        "thread_id": thread_id,
        "checkpoint_id": place.checkpoint_id,
        "assistant_id": body.model,
        "context": asked.context(body.temperature),
        "multitask_strategy": "enqueue",
        "on_disconnect": "cancel",
        "idempotency_key": idempotency_key,
    }
    run = chat.start("stream", fields)

    def translate(thread_id: str, run_id: str) -> ChatChunks:
        answer_id, created = joined_id("chatcmpl-", run_id), created_at(run_id)
        return ChatChunks(
            answer_id, body.model, created, has_usage=body.has_usage, is_whole=not body.stream
        )

    stream = RunStream(run, translate, None if thread_id else partial(chat.forget, run))
    try:
        if body.stream:
            return await stream.response(settings(), lambda frame: None)
        await stream.read(request)
    except (NotFound, InvalidRequest):
        await assistant_of(chat.agent, body.model)
        raise
    return _answer(stream.translation.completion)


@router.post("/responses", **_STREAM)
async def create_response(
    body: ResponseRequest, chat: AsUser, idempotency_key: Key = None
) -> Response:
    """Starts a response: its events, or the whole, or with `background` what has begun."""
    try:
        stream = await Responses(chat).start(body, idempotency_key)
        if body.stream:
            return await stream.response(settings(), _name_of)
        await (stream.begin() if body.background else stream.read())
    except (NotFound, InvalidRequest):
        await assistant_of(chat.agent, body.model)
        raise
    return _answer(stream.translation.response)


@router.get("/responses/{response_id}", **_STREAM)
async def get_response(
    response_id: str,
    request: Request,
    chat: AsUser,
    stream: bool = False,
    starting_after: After = None,
) -> Response:
    """A response as it is, or its events: all, or those after the number `starting_after`."""
    for name, value in request.query_params.items():
        if name not in _OF_GET and (name, value) not in _NEUTRAL_OF_GET:
            raise NotTaken(name.removesuffix("[]"))
    if not stream:
        if starting_after is not None:
            raise InvalidRequest("`starting_after` is for events: ask with `stream=true`.")
        return _answer(await Responses(chat).get(response_of(response_id)))
    after = -1 if starting_after is None else starting_after
    events = await Responses(chat).join(response_of(response_id), after)
    return await events.response(settings(), _name_of)


@router.post("/responses/{response_id}/cancel")
async def cancel_response(response_id: str, chat: AsUser) -> Response:
    """Stops a response: it is `incomplete` then, with the text that had come."""
    return _answer(await Responses(chat).cancel(response_of(response_id)))


@router.delete("/responses/{response_id}")
async def delete_response(response_id: str, chat: AsUser) -> Response:
    """Forgets a response that has ended; with the last one of its thread, the thread."""
    await Responses(chat).delete(response_of(response_id))
    return JSONResponse({"id": response_id, "object": "response", "deleted": True})


def _answer(value: BaseModel) -> Response:
    return Response(as_json(value), media_type="application/json")


def _name_of(frame: BaseModel | str) -> str | None:
    return str(getattr(frame, "type", "")) or None
