"""OpenAI's chat completions: the events of a run as chunks of one answer. Pure.

The protocol has no word for a piece that is to be discarded. So where the model is tried again, its
new answer has to begin with what was sent, and goes on from there; else the stream ends in an
error. The agent's own calls are no part of the answer: a caller would take them for calls to do.
"""

from collections.abc import Iterator
from typing import Any

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import ChoiceDelta

from agent.http.protocols.approvals import approval_requests
from agent.http.protocols.openai_errors import error_frame
from client import (
    AgentEvent,
    Conflict,
    Done,
    Interrupt,
    Reasoning,
    Retry,
    RunFailed,
    SteadyError,
    Token,
    Usage,
)

DONE = "[DONE]"  # what ends a stream
_BREAK = "\n\n"  # between two messages of one answer
_REASONS = {"length": "length", "content_filter": "content_filter", "refusal": "content_filter"}

Frames = Iterator[Any]


class ApprovalNeeded(Conflict):
    """A call waits for a person, whom this protocol cannot ask."""

    code = "approval_required"
    retryable = False


class Restarted(RunFailed):
    """The model was tried again, and says something else than what was sent."""

    code = "model_restarted"
    retryable = True


class ChatChunks:
    """The chunks of one answer, in order.

    Args:
        answer_id: names the answer.
        model: the assistant, as the caller calls it.
        created: when the run was made, in seconds since 1970.
        has_usage: whether the caller asked for a chunk with the token counts.
        is_whole: whether nothing is sent before the end, so that anything can be discarded.
    """

    def __init__(
        self, answer_id: str, model: str, created: int, *, has_usage: bool, is_whole: bool = False
    ) -> None:
        self._head: dict[str, Any] = {"id": answer_id, "model": model, "created": created}
        self._has_usage, self._is_whole = has_usage, is_whole
        self._texts: dict[str, str] = {}  # each message's, by id
        self._reasoning = list[str]()
        self._repeated: dict[str, str] = {}  # what a message that comes anew has to begin with
        self._last_id = ""
        self._approvals = list[str]()
        self._tokens = [0, 0]
        self._reason = "stop"

    def begin(self, event: AgentEvent) -> Frames:
        yield self._chunk(ChoiceDelta(role="assistant", content=""))

    def read(self, event: AgentEvent) -> Frames:
        """What an event of the run is in the answer. Raises ApprovalNeeded, Restarted."""
        match event:
            case Token(node=node) | Reasoning(node=node) if "|" in node:
                return  # an inner agent's
            case Token(content=text, message_id=message_id) if text:
                yield from self._write(text, message_id)
            case Reasoning(content=text):
                self._reasoning.append(text)
                yield self._chunk(ChoiceDelta.construct(reasoning_content=text))
            case Retry(message_id=message_id) if message_id in self._texts:
                text = self._texts.pop(message_id)
                self._repeated[message_id] = "" if self._is_whole else text
            case Interrupt():
                self._approvals += [call.tool for _, call in approval_requests(event)] or [""]
            case Usage(input_tokens=read, output_tokens=written):
                self._tokens = [self._tokens[0] + read, self._tokens[1] + written]
            case Done():
                yield from self._end(event)

    def fail(self, error: SteadyError, *, is_final: bool) -> Frames:
        yield error_frame(error)
        yield DONE

    @property
    def completion(self) -> ChatCompletion:
        """The whole answer, once its run has ended."""
        message = ChatCompletionMessage(
            role="assistant", content=_BREAK.join(filter(None, self._texts.values()))
        )
        if self._reasoning:
            message = message.model_copy(update={"reasoning_content": "".join(self._reasoning)})
        choice: Any = Choice(index=0, message=message, finish_reason=self._reason, logprobs=None)  # type: ignore[arg-type]
        return ChatCompletion(
            **self._head, object="chat.completion", choices=[choice], usage=self._usage
        )

    def _write(self, text: str, message_id: str) -> Frames:
        self._texts[message_id] = self._texts.get(message_id, "") + text
        if repeated := self._repeated.pop(message_id, ""):
            if not repeated.startswith(text) and not text.startswith(repeated):
                raise Restarted(
                    "The model broke off and was tried again, and its new answer is another one: "
                    "ask again. `/v1/responses` and `/agent/stream` can tell both."
                )
            self._repeated[message_id] = repeated[len(text) :]
            text = text[len(repeated) :]
        if not text:
            return
        if self._last_id not in ("", message_id):
            text = _BREAK + text
        self._last_id = message_id
        yield self._chunk(ChoiceDelta(content=text))

    def _end(self, done: Done) -> Frames:
        if done.status == "interrupted":
            tools = ", ".join(filter(None, self._approvals)) or "the agent"
            raise ApprovalNeeded(
                f"A person's decision is needed ({tools}), which this protocol cannot ask for: use "
                "`/v1/responses`, or decide on the thread, on the page or at `/agent/decide`."
            )
        if any(self._repeated.values()):
            raise Restarted("The model broke off, and its new answer is shorter: ask again.")
        self._reason = _REASONS.get(done.finish_reason or "", "stop")
        if done.status != "success":
            self._reason = "length"  # the protocol's only word for an answer that is not whole
        yield self._chunk(ChoiceDelta(), self._reason)
        if self._has_usage:
            yield ChatCompletionChunk(
                **self._head, object="chat.completion.chunk", choices=[], usage=self._usage
            )
        yield DONE

    @property
    def _usage(self) -> CompletionUsage:
        read, written = self._tokens
        return CompletionUsage(
            prompt_tokens=read, completion_tokens=written, total_tokens=read + written
        )

    def _chunk(self, delta: ChoiceDelta, reason: Any = None) -> ChatCompletionChunk:
        choice = ChunkChoice(index=0, delta=delta, finish_reason=reason, logprobs=None)
        return ChatCompletionChunk(**self._head, object="chat.completion.chunk", choices=[choice])
