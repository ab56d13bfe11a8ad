"""The answer of a model call as far as it has come."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

_calls: ContextVar[list["PartialAnswer"] | None] = ContextVar("calls", default=None)
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


@contextmanager
def partial_answer() -> Iterator[list["PartialAnswer"]]:
    """The answers of the model calls inside, as far as they have come, the last one last.

    A call that is cancelled may be cut while it is not reading but telling of what it read: its
    own code hears of that too late to say anything. Whoever asks inside of another who asks gets
    the same list.
    """
    calls = _calls.get()
    calls = [] if calls is None else calls
    token = _calls.set(calls)
    try:
        yield calls
    finally:
        _calls.reset(token)


def record(answer: "PartialAnswer") -> "PartialAnswer":
    """Makes an answer known to whoever asks around this call."""
    if (calls := _calls.get()) is not None:
        calls.append(answer)
    return answer


class PartialAnswer:
    """What has come of a streamed answer.

    `message_id` is the message's id, where it is known before LangChain gives it to the chunks.
    `is_dropped` is whether another one is to come in its place.
    """

    is_dropped = False

    def __init__(self, message_id: str | None = None) -> None:
        self._message_id = message_id
        self._first: BaseMessage | None = None
        self._texts: list[str] = []

    def add(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Takes note of a chunk, and passes it on."""
        message = chunk.message
        if self._first is None:
            self._first = message
        content = message.content  # `text` would make a copy of what is a text already
        self._texts.append(content if isinstance(content, str) else message.text)
        message.id = None  # the Responses API's is on some chunks only; LangChain's is on all
        if "status" in message.response_metadata:
            message.response_metadata["finish_reason"] = _finish_reason(message.response_metadata)
        return chunk

    @property
    def partial(self) -> AIMessage:
        """The text so far, under the id that LangChain gave the chunks when they were passed on."""
        first_id = self._first.id if self._first else None
        return AIMessage("".join(self._texts), id=first_id or self._message_id)


def _finish_reason(response: dict[str, Any]) -> str:
    """Of the Responses API, in the words of Chat Completions."""
    if reason := (response.get("metadata") or {}).pop("steady_finish_reason", None):
        return str(reason)
    details = response.get("incomplete_details") or {}
    return _INCOMPLETE.get(str(details.get("reason")), "stop")
