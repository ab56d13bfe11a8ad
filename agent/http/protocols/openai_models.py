"""OpenAI's models are this server's assistants; its threads are called in several ways."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from openai.types import Model
from starlette.datastructures import Headers

from agent.http.protocols.base import RunRef, run_of, thread_of
from agent.http.runs import Chat
from client import AgentClient, NotFound, ServerError
from client.errors import translated

RESPONSE, CONVERSATION = "resp_", "conv_"
_THREAD_HEADER = "x-thread-id"
_CONVERSATION_HEADERS = ("x-conversation-id", "x-openwebui-chat-id")
_TASK_HEADER = "x-openwebui-task"  # of a request beside the chat: for its title, its tags...

_names: dict[str, str] = {}  # of assistants, by id; it does not change


class ModelNotFound(NotFound):
    """No assistant has this name."""

    code = "model_not_found"
    param = "model"


def model_of(assistant: Mapping[str, Any]) -> Model:
    """An assistant as a model: the server's own go by their graph's name, others by their id."""
    made = datetime.fromisoformat(str(assistant["created_at"]))
    return Model(
        id=name_of(assistant),
        created=int(made.timestamp()),
        object="model",
        owned_by="steadystream",
    )


def name_of(assistant: Mapping[str, Any]) -> str:
    """What an assistant is called as a model."""
    is_own = (assistant.get("metadata") or {}).get("created_by") == "system"
    return str(assistant["graph_id" if is_own else "assistant_id"])


async def assistant_of(agent: AgentClient, model: str) -> Mapping[str, Any]:
    """The assistant of this name or id. Raises ModelNotFound."""
    for assistant in await agent.assistants():
        if model in (name_of(assistant), assistant["assistant_id"]):
            return assistant
    try:
        with translated(agent.url):
            return await agent.sdk.assistants.get(model)
    except ServerError as error:
        raise ModelNotFound(
            f"There is no model {model!r} here: `GET /v1/models` lists them."
        ) from error


async def thread_by_headers(chat: Chat, headers: Headers) -> str | None:
    """The thread that a caller names: ours, or a conversation of the caller's own.

    The latter is made when it is first named. None where none is named, or where the request is a
    task about a chat and no part of it. Raises SteadyError.
    """
    if headers.get(_TASK_HEADER):
        return None
    if thread_id := headers.get(_THREAD_HEADER):
        return thread_id
    name = next(filter(None, map(headers.get, _CONVERSATION_HEADERS)), None)
    if name is None or name.startswith(CONVERSATION):
        return name and thread_of(CONVERSATION, name)
    thread_id = str(chat.own_id(f"conversation {name}"))
    with translated(chat.agent.url):
        await chat.agent.sdk.threads.create(thread_id=thread_id, if_exists="do_nothing")
    return thread_id


async def served_name(agent: AgentClient, assistant_id: str) -> str:
    """What the assistant with this id is called as a model; its id, where it is gone."""
    if assistant_id not in _names:
        try:
            with translated(agent.url):
                assistant = await agent.sdk.assistants.get(assistant_id)
        except NotFound:
            return assistant_id
        _names[assistant_id] = name_of(assistant)
    return _names[assistant_id]


def response_of(text: str) -> RunRef:
    """The run that is a response. Raises NotFound."""
    return run_of(RESPONSE, text)


async def checkpoint_after(agent: AgentClient, ref: RunRef) -> str | None:
    """The checkpoint at the end of a run; None where that is the thread's latest.

    Raises NotFound.
    """
    with translated(agent.url):
        latest = await agent.sdk.threads.get_history(ref.thread_id, limit=1)
    if latest and (latest[0]["metadata"] or {}).get("run_id") == ref.run_id:
        return None
    return str((await last_state(agent, ref))["checkpoint"]["checkpoint_id"])


async def last_state(agent: AgentClient, ref: RunRef) -> Mapping[str, Any]:
    """The last state that a run made. Raises NotFound."""
    with translated(agent.url):
        own = await agent.sdk.threads.get_history(
            ref.thread_id, limit=1, metadata={"run_id": ref.run_id}
        )
    if not own:
        raise NotFound("The thread no longer has what this response left.")
    return own[0]
