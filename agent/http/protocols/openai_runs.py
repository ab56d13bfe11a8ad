"""Responses are runs: started on the thread that a request names, joined, read whole, stopped."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from openai.types import responses as out

from agent.http.protocols.approvals import Call, answers_for
from agent.http.protocols.base import RunRef, RunStream, created_at, joined_id, thread_of
from agent.http.protocols.openai_models import (
    CONVERSATION,
    RESPONSE,
    checkpoint_after,
    response_of,
    served_name,
)
from agent.http.protocols.openai_requests import Conversation, ResponseRequest
from agent.http.protocols.openai_responses import ResponseEvents
from agent.http.runs import Chat
from agent.tools import NEEDS_APPROVAL
from agent.tools.mcp import MCP
from client import Conflict, InvalidRequest, Runs, StreamLost
from client.errors import translated

JSON = dict[str, Any]
ResponseStream = RunStream[ResponseEvents]


class Responses:
    """The responses of one user. Every method raises SteadyError."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def start(self, body: ResponseRequest, idempotency_key: str | None) -> ResponseStream:
        """The response that is asked for, to be read."""
        thread_id, checkpoint_id = None, None
        if body.previous_response_id:
            ref = response_of(body.previous_response_id)
            thread_id, checkpoint_id = ref.thread_id, await checkpoint_after(self._chat.agent, ref)
        elif body.conversation:
            thread_id = thread_of(CONVERSATION, body.conversation.id)
        asked = Conversation.of(body.messages, body.instructions)
        fields = {
            "thread_id": thread_id,
            "assistant_id": body.model,
            "context": asked.context(body.temperature),
            "idempotency_key": idempotency_key,
        }
        if body.approvals:
            return await self._decide(body, {**fields, "thread_id": str(thread_id)})
        messages = [message.json_form for message in asked.messages]
        message, history = messages[-1]["content"], messages[:-1]
        is_kept = body.store is not False
        place = {
            "message": message,
            "history": history,
            "checkpoint_id": checkpoint_id,
            "on_disconnect": "continue" if is_kept else "cancel",
        }
        run = self._chat.start("stream", {**fields, **place})
        forget = None if is_kept else partial(self._chat.forget, run)
        return RunStream(run, partial(_events, body.model), forget)

    async def _decide(self, body: ResponseRequest, fields: JSON) -> ResponseStream:
        if not body.has_thread:
            raise InvalidRequest("Answer an approval request with `previous_response_id`.")
        threads, thread_id = self._chat.agent.threads, fields["thread_id"]
        answers = answers_for(await threads.interrupts(thread_id), body.approvals)
        calls = await self._calls(thread_id)
        run = self._chat.start("resume", {**fields, "answers": answers})
        return RunStream(run, partial(_events, body.model, calls=calls))

    async def join(self, ref: RunRef, after: int = -1) -> ResponseStream:
        """A response that was started before, to be read after the event of this number."""
        run = await self._chat.agent.runs.get(*ref)
        return await self._joined(ref, run, after)

    async def _joined(self, ref: RunRef, run: Mapping[str, Any], after: int = -1) -> ResponseStream:
        model = await served_name(self._chat.agent, str(run["assistant_id"]))
        decides = bool((run.get("kwargs") or {}).get("command"))
        calls = await self._calls(ref.thread_id) if decides else {}
        translate = partial(_events, model, calls=calls, after=after)
        return RunStream(self._chat.agent.runs.join(*ref), translate)

    async def get(self, ref: RunRef) -> out.Response:
        """The response as it is: `queued`, `in_progress`, or whole."""
        run = await self._chat.agent.runs.get(*ref)
        stream = await self._joined(ref, run)
        if run["status"] not in Runs.active:
            return await _whole(stream)
        status = "queued" if run["status"] == "pending" else "in_progress"
        return stream.translation.response.model_copy(update={"status": status})

    async def cancel(self, ref: RunRef) -> out.Response:
        """Stops the response, and returns it with what it has."""
        stream = await self.join(ref)
        await self._chat.agent.runs.cancel(*ref)
        return await _whole(stream)

    async def delete(self, ref: RunRef) -> None:
        """Deletes the response's run, and its thread where no other run is on it."""
        agent = self._chat.agent
        run = await agent.runs.get(*ref)
        if run["status"] in Runs.active:
            raise Conflict("The response has not ended: cancel it first.")
        if len(await agent.runs.list(ref.thread_id, limit=2)) == 1:
            await agent.threads.delete(ref.thread_id)
        else:
            with translated(agent.url):
                await agent.sdk.runs.delete(*ref)

    async def _calls(self, thread_id: str) -> dict[str, Call]:
        """The calls on the thread, by id: an approved one was made in an earlier run."""
        return {
            str(call["id"]): Call(call["name"], json.dumps(call["args"], ensure_ascii=False))
            for message in await self._chat.agent.threads.messages(thread_id)
            for call in message.get("tool_calls") or ()
        }


async def _whole(stream: ResponseStream) -> out.Response:
    await stream.read(tells_errors=True)
    events = stream.translation
    if not events.has_ended:
        raise StreamLost("The server no longer has all of this response: its thread has the text.")
    return events.response


def _events(
    model: str,
    thread_id: str,
    run_id: str,
    *,
    calls: dict[str, Call] | None = None,
    after: int = -1,
) -> ResponseEvents:
    return ResponseEvents(
        joined_id(RESPONSE, thread_id, run_id),
        model,
        created_at(run_id),
        joined_id(CONVERSATION, thread_id),
        after=after,
        waits={tool.name for tool in NEEDS_APPROVAL} | {*filter(MCP.needs_approval, MCP.tools)},
        calls=calls,
    )
