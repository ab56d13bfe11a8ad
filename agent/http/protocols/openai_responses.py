"""OpenAI's Responses: the events of a run as those of one response. Pure.

`sequence_number` is a position in the stored run: each event takes one number, and each character
of a text takes one, so that a piece of a text has the number of its last character. A number means
the same to every reader, in whatever pieces the run reaches him.
"""

import json
from collections.abc import Container, Iterator, Mapping
from functools import cache
from typing import Any, get_args

from openai.types import responses as out
from openai.types.responses.response import Conversation, IncompleteDetails
from pydantic import BaseModel

from agent.http.protocols.approvals import Call, approval_requests
from agent.http.protocols.openai_items import RunningCall, Text, approval_request, usage
from client import (
    AgentEvent,
    Done,
    Interrupt,
    Reasoning,
    Retry,
    RunStarted,
    SteadyError,
    StreamLost,
    Token,
    ToolCall,
    ToolResult,
    Usage,
)

_REASONS: dict[str | None, Any] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}

Events = Iterator[BaseModel]


class ResponseEvents:
    """The events of one response, in order.

    Args:
        response_id: names the response.
        model: the assistant, as the caller calls it.
        created: when the run was made, in seconds since 1970.
        conversation_id: the thread, as the caller may name it.
        first: the number of the first event. Default: 0.
        after: events up to this number were read before. Default: none were.
        waits: the tools whose calls wait for approval: until they run they are no items.
        calls: the calls of earlier responses, by id. Default: none.

    Attributes:
        response: the response as it is; its output and its usage are there when it `has_ended`.
    """

    def __init__(
        self,
        response_id: str,
        model: str,
        created: int,
        conversation_id: str,
        *,
        first: int = 0,
        after: int = -1,
        waits: Container[str] = (),
        calls: Mapping[str, Call] | None = None,
    ) -> None:
        self.response = out.Response(
            id=response_id,
            object="response",
            created_at=created,
            status="in_progress",
            model=model,
            output=[],
            error=None,
            incomplete_details=None,
            instructions=None,
            metadata={},
            conversation=Conversation(id=conversation_id),
            parallel_tool_calls=True,
            tool_choice="auto",
            tools=[],
            usage=None,
        )
        self._after, self._next = after, first
        self._waits = waits
        self._calls = dict(calls or {})
        self._running: dict[str, RunningCall] = {}
        self._text: Text | None = None
        self._output: list[tuple[str, Any]] = []  # items, each with its message where it is text
        self._asks = False
        self._tokens = [0, 0]

    @property
    def has_ended(self) -> bool:
        return self.response.status != "in_progress"

    def begin(self, event: AgentEvent) -> Events:
        """Raises StreamLost: what follows the number `after`, or all of it, is not there."""
        if not isinstance(event, RunStarted) or 0 <= self._after < self._next:
            raise StreamLost(
                "The server no longer has the events that follow this number: get the response "
                "without `starting_after`, or whole without `stream`."
            )
        yield from self._tell(out.ResponseCreatedEvent)
        yield from self._tell(out.ResponseInProgressEvent)

    def read(self, event: AgentEvent) -> Events:
        """What an event of the run is in the response; an inner agent's work is no part of it."""
        match event:
            case Token(node=node) | Reasoning(node=node) | ToolCall(node=node) if "|" in node:
                return
            case Token(content=text, message_id=message_id):
                yield from self._write(text, message_id, is_reasoning=False)
            case Reasoning(content=text, message_id=message_id):
                yield from self._write(text, message_id, is_reasoning=True)
            case ToolCall(id=call_id, tool=tool, args=args):
                yield from self._close("completed")
                self._calls[call_id] = Call(tool, json.dumps(args, ensure_ascii=False))
                if tool not in self._waits:
                    yield from self._begin_call(call_id)
            case ToolResult(id=call_id) if call_id in self._calls:
                yield from self._end_call(event)
            case Retry(message_id=message_id) if message_id:
                yield from self._discard(message_id)
            case Interrupt():
                yield from self._ask_approval(event)
            case Usage(input_tokens=read, output_tokens=written):
                self._tokens = [self._tokens[0] + read, self._tokens[1] + written]
            case Done():
                yield from self._end(event)

    def fail(self, error: SteadyError, *, is_final: bool) -> Events:
        """How an error is told: `is_final` where the run has failed, else the stream has."""
        message = error.message.encode(errors="replace").decode()
        if not is_final:
            last = max(self._next - 1, 0)  # what follows it is read after the same number
            yield out.ResponseErrorEvent(
                type="error", code=error.code, message=message, param=None, sequence_number=last
            )
            return
        self.response.error = out.ResponseError(code="server_error", message=message)
        yield from self._finish("failed", out.ResponseFailedEvent)

    def _write(self, text: str, message_id: str, *, is_reasoning: bool) -> Events:
        now = self._text
        if now is None or (now.message_id, now.is_reasoning) != (message_id, is_reasoning):
            yield from self._close("completed")
            now = self._text = Text(len(self._output), message_id, is_reasoning)
            yield from self._add_item(message_id, now.item("in_progress"))
            for kind, fields in now.begin():
                yield from self._event(kind, **fields)
        now.pieces.append(text)
        first, self._next = self._next, self._next + len(text)
        if rest := text[max(0, self._after + 1 - first) :]:
            kind, fields = now.delta(rest)
            yield kind(**fields, sequence_number=self._next - 1, type=_type(kind))

    def _close(self, status: str) -> Events:
        """Ends the text that is being written, if there is one."""
        text, self._text = self._text, None
        if text is not None:
            for kind, fields in text.end():
                yield from self._event(kind, **fields)
            yield from self._end_item(text.index, text.item(status))

    def _discard(self, message_id: str) -> Events:
        """The model writes the message anew, as another item: this one is no part of the answer."""
        if self._text and self._text.message_id == message_id:
            yield from self._close("incomplete")
        self._output = [("", None) if of == message_id else (of, item) for of, item in self._output]

    def _begin_call(self, call_id: str) -> Events:
        running = RunningCall(len(self._output), call_id, self._calls[call_id])
        self._running[call_id] = running
        yield from self._add_item("", running.item("in_progress"))
        for kind, fields in running.begin():
            yield from self._event(kind, **fields)

    def _end_call(self, result: ToolResult) -> Events:
        yield from self._close("completed")
        if result.id not in self._running:
            yield from self._begin_call(result.id)
        running = self._running.pop(result.id)
        kind, fields, item = running.end(result)
        yield from self._event(kind, **fields)
        yield from self._end_item(running.index, item)

    def _ask_approval(self, interrupt: Interrupt) -> Events:
        yield from self._close("completed")
        for approval_id, call in approval_requests(interrupt):
            self._asks = True
            item = approval_request(approval_id, call)
            yield from self._add_item("", item)
            yield from self._end_item(len(self._output) - 1, item)

    def _end(self, done: Done) -> Events:
        reason = _REASONS.get(done.finish_reason) if done.status == "success" else None
        if reason:
            self.response.incomplete_details = IncompleteDetails(reason=reason)
        if (done.status == "success" and not reason) or self._asks:
            yield from self._finish("completed", out.ResponseCompletedEvent)
        else:
            yield from self._finish("incomplete", out.ResponseIncompleteEvent)

    def _finish(self, status: Any, kind: type[BaseModel]) -> Events:
        yield from self._close("completed" if status == "completed" else "incomplete")
        for running in self._running.values():  # they brought no result
            yield from self._end_item(running.index, running.item("incomplete"))
        self._running.clear()
        self.response.status = status
        self.response.output = [item for _, item in self._output if item is not None]
        self.response.usage = usage(*self._tokens)
        yield from self._tell(kind)

    def _tell(self, kind: type[BaseModel]) -> Events:
        yield from self._event(kind, response=self.response.model_copy())

    def _add_item(self, message_id: str, item: Any) -> Events:
        self._output.append((message_id, item))
        index = len(self._output) - 1
        yield from self._event(out.ResponseOutputItemAddedEvent, output_index=index, item=item)

    def _end_item(self, index: int, item: Any) -> Events:
        self._output[index] = self._output[index][0], item
        yield from self._event(out.ResponseOutputItemDoneEvent, output_index=index, item=item)

    def _event(self, kind: type[BaseModel], **fields: Any) -> Events:
        number, self._next = self._next, self._next + 1
        if number > self._after:
            yield kind(**fields, sequence_number=number, type=_type(kind))


@cache
def _type(kind: type[BaseModel]) -> str:
    """The name of a kind of event."""
    return str(get_args(kind.model_fields["type"].annotation)[0])
