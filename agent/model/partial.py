"""What a streamed model call has said so far, and whether it came to its end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk

from agent.model.errors import ModelError

_partial: ContextVar[list["Whole"] | None] = ContextVar("partial", default=None)


@contextmanager
def partial_answer() -> Iterator[list["Whole"]]:
    """What model calls inside have said so far, the last one last.

    A call that is cancelled may be cut while it is not reading but telling of what it read: its
    own code hears of that too late to say anything. Whoever asks inside of another who asks gets
    the same list.
    """
    said = _partial.get()
    said = [] if said is None else said
    token = _partial.set(said)
    try:
        yield said
    finally:
        _partial.reset(token)


def note(whole: "Whole") -> "Whole":
    """Tells whoever asks around this call of it."""
    if (said := _partial.get()) is not None:
        said.append(whole)
    return whole


class Whole:
    """A streamed answer: what came of it, and whether it came to its end and can be read.

    `message_id` is the message's id, where it is known before LangChain gives it to the pieces.
    """

    def __init__(self, message_id: str | None = None) -> None:
        self._message_id = message_id
        self._is_finished = False
        self._first: BaseMessage | None = None
        self._texts: list[str] = []
        self._calls: dict[Any, ToolCallChunk] = {}

    def add(self, made: ChatGenerationChunk) -> ChatGenerationChunk:
        """Takes note of a piece, and passes it on."""
        self._is_finished = self._is_finished or _is_finish(made)
        if self._first is None:
            self._first = made.message
        content = made.message.content  # `text` would make a copy of what is a text already
        self._texts.append(content if isinstance(content, str) else made.message.text)
        for piece in getattr(made.message, "tool_call_chunks", ()):
            self._add_piece(piece)
        made.message.id = None  # the Responses API's is on some pieces only; LangChain's is on all
        return made

    @property
    def partial(self) -> AIMessage:
        """The text so far, under the id that LangChain gave the pieces when they were passed on."""
        first_id = self._first.id if self._first else None
        return AIMessage("".join(self._texts), id=first_id or self._message_id)

    def _add_piece(self, piece: ToolCallChunk) -> None:
        call = self._calls.setdefault(piece.get("index"), {**piece, "args": ""})
        call["args"] = f"{call['args']}{piece.get('args') or ''}"

    def check(self) -> None:
        """Raises ModelError; LangChain would mend arguments that were cut short, or drop them."""
        if not self._is_finished:
            raise ModelError(
                "The model broke off in the middle of its answer: try again.", is_broken_off=True
            )
        for call in self._calls.values():
            try:
                arguments = json.loads(call["args"] or "{}", strict=False)
            except ValueError:
                arguments = None
            if not isinstance(arguments, dict):
                raise ModelError(
                    f"The model called {call['name']} with arguments that are not valid JSON: "
                    "try again, or choose another model.",
                    is_broken_off=True,
                )


def _is_finish(made: ChatGenerationChunk) -> bool:
    """Chat Completions end with a finish reason, Responses with a status."""
    told = {**made.message.response_metadata, **(made.generation_info or {})}
    return bool(told.get("finish_reason") or told.get("status"))
