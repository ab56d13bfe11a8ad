"""Responses are runs: started on the thread that a request names, joined, read whole, stopped."""

import json
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from openai.types import responses as out

from agent.http.protocols.approvals import Call, answers_for
from agent.http.protocols.base import RunRef, RunStream, created_at, joined_id, thread_of
from agent.http.protocols.openai_models import (
    CONVERSATION,
    RESPONSE,
    checkpoint_after,
    last_state,
    response_of,
    served_name,
)
from agent.http.protocols.openai_requests import Conversation, ResponseRequest
from agent.http.protocols.openai_responses import ResponseEvents
from agent.http.runs import Chat
from agent.storage import inmem_server
from agent.tools import NEEDS_APPROVAL
from agent.tools.mcp import MCP
from client import Conflict, Error, InvalidRequest, NotFound, RunFailed, Runs, StreamLost
from client.errors import translated

JSON = dict[str, Any]
ResponseStream = RunStream[ResponseEvents]
_BEGAN = int(time.time())  # this process, in seconds since 1970
_DELETED = "steady_deleted_responses"  # in a thread's metadata


class Responses:
    """The responses of one user. Every method raises SteadyError."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def start(self, body: ResponseRequest, idempotency_key: str | None) -> ResponseStream:
        """The response that is asked for, to be read."""
        thread_id, checkpoint_id = None, None
        if body.previous_response_id:
            ref = response_of(body.previous_response_id)
            await self._run(ref)
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
        if (run := await self._run(ref)) is None:
            await self._chat.agent.runs.saved(*ref)
            raise StreamLost("The server no longer has this response's events: get it whole.")
        return await self._joined(ref, run, after)

    async def _joined(self, ref: RunRef, run: Mapping[str, Any], after: int = -1) -> ResponseStream:
        model = await served_name(self._chat.agent, str(run["assistant_id"]))
        decides = bool((run.get("kwargs") or {}).get("command"))
        calls = await self._calls(ref.thread_id) if decides else {}
        translate = partial(_events, model, calls=calls, after=after)
        return RunStream(self._chat.agent.runs.join(*ref), translate)

    async def get(self, ref: RunRef) -> out.Response:
        """The response as it is: `queued`, `in_progress`, or whole."""
        if (run := await self._run(ref)) is None:
            return await self._saved(ref)
        stream = await self._joined(ref, run)
        if run["status"] not in Runs.active:
            return await self._whole(ref, run, stream)
        status = "queued" if run["status"] == "pending" else "in_progress"
        return stream.translation.response.model_copy(update={"status": status})

    async def cancel(self, ref: RunRef) -> out.Response:
        """Stops the response, and returns it with what it has."""
        if (run := await self._run(ref)) is None:
            return await self._saved(ref)
        stream = await self._joined(ref, run)
        await self._chat.agent.runs.cancel(*ref)
        return await self._whole(ref, run, stream)

    async def delete(self, ref: RunRef) -> None:
        """Deletes the response's run, and its thread where no other run is on it."""
        agent = self._chat.agent
        run = await self._run(ref)
        if run is None:
            await agent.runs.saved(*ref)
        elif run["status"] in Runs.active:
            raise Conflict("The response has not ended: cancel it first.")
        thread = await agent.threads.get(ref.thread_id)
        if run and len(await agent.runs.list(ref.thread_id, limit=2)) == 1:
            await agent.threads.delete(ref.thread_id)
            return
        deleted = [*(thread["metadata"] or {}).get(_DELETED, ()), ref.run_id]
        with translated(agent.url):
            await agent.sdk.threads.update(ref.thread_id, metadata={_DELETED: deleted})
            if run:
                await agent.sdk.runs.delete(*ref)

    async def _run(self, ref: RunRef) -> Mapping[str, Any] | None:
        """The run; None where the thread alone may have something of it. Raises NotFound."""
        agent = self._chat.agent
        try:
            return await agent.runs.get(*ref)
        except NotFound:
            thread = await agent.threads.get(ref.thread_id)
            if ref.run_id in (thread["metadata"] or {}).get(_DELETED, ()):
                raise
            return None

    async def _whole(
        self, ref: RunRef, run: Mapping[str, Any], stream: ResponseStream
    ) -> out.Response:
        """The response that has ended: by its events, or where they are gone by its thread."""
        with suppress(StreamLost):
            await stream.read(tells_errors=True)
        if stream.translation.has_ended:
            return stream.translation.response
        return await self._saved(ref, run)

    async def _saved(self, ref: RunRef, run: Mapping[str, Any] | None = None) -> out.Response:
        """The response as its thread keeps it; `run` where it is known. Raises NotFound."""
        agent = self._chat.agent
        saved = await agent.runs.saved(*ref)
        made_by = run or (await last_state(agent, ref))["metadata"]
        model = await served_name(agent, str(made_by["assistant_id"]))
        events = _events(model, *ref, calls=await self._calls(ref.thread_id))
        for event in saved:
            if isinstance(event, Error):
                deque(events.fail(RunFailed(event.message), is_final=True), maxlen=0)
                break
            deque(events.read(event), maxlen=0)
        return events.response

    async def _calls(self, thread_id: str) -> dict[str, Call]:
        """The calls on the thread, by id: an approved one was made in an earlier run."""
        return {
            str(call["id"]): Call(call["name"], json.dumps(call["args"], ensure_ascii=False))
            for message in await self._chat.agent.threads.messages(thread_id)
            for call in message.get("tool_calls") or ()
        }


def _first_number(run_id: str) -> int:
    """The number of the first event of a run's stream.

    A server that is started again does what it had not ended once more, and has only the new
    stream. What a reader had read is no part of that, so its numbers are greater. Another server
    keeps the streams elsewhere, with all that was streamed.
    """
    made = created_at(run_id)
    return max(_BEGAN - made, 0) << 24 if made and inmem_server.is_used() else 0


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
        first=_first_number(run_id),
        after=after,
        waits={tool.name for tool in NEEDS_APPROVAL} | {*filter(MCP.needs_approval, MCP.tools)},
        calls=calls,
    )
