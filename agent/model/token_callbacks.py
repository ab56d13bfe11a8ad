"""Callbacks for each piece of an answer, called without a task group for each.

LangChain gathers the callbacks that are to run beside the caller, even where there are none: those
of LangGraph's streams and of its tracers all run in the caller's own task. It also keeps each piece
until the answer ends: nine objects a frame, which the garbage collector goes through again and
again, while every stream waits.
"""

import inspect
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.callbacks.manager import handle_event
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils.utils import LC_ID_PREFIX

_callbacks: ContextVar["_DirectCallbacks | None"] = ContextVar("callbacks", default=None)


@contextmanager
def direct_callbacks(manager: AsyncCallbackManagerForLLMRun | None) -> Iterator[None]:
    """Around a model call: where no callback is to be waited for, they are called directly."""
    if manager is None or not _are_direct(manager):
        yield
        return
    callbacks = _DirectCallbacks(manager)
    manager.on_llm_new_token = callbacks.on_llm_new_token  # type: ignore[method-assign]
    token = _callbacks.set(callbacks)
    try:
        yield
    finally:
        _callbacks.reset(token)


def joined(pieces: AsyncGenerator[ChatGenerationChunk]) -> AsyncGenerator[ChatGenerationChunk]:
    """The pieces of the model call that `direct_callbacks` is around, for LangChain to keep.

    Callbacks get each piece when it comes; texts in a row are then given as one. Pieces of any
    other call stay as they are.
    """
    callbacks = _callbacks.get()
    return pieces if callbacks is None else callbacks.joined(pieces)


def message_id(manager: AsyncCallbackManagerForLLMRun) -> str:
    """The id of the message that a call streams: LangChain gives it to pieces or, in v3, events."""
    return f"{LC_ID_PREFIX}-{manager.run_id}"


class _DirectCallbacks:
    """Those of one model call."""

    def __init__(self, manager: AsyncCallbackManagerForLLMRun) -> None:
        self._handlers = manager.handlers
        self._message_id = message_id(manager)
        self._run = {
            "run_id": manager.run_id,
            "parent_run_id": manager.parent_run_id,
            "tags": manager.tags,
        }
        self._told: ChatGenerationChunk | None = None

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **more: Any) -> None:
        if chunk is None or chunk is not self._told:
            self._call(token, chunk, **more)

    async def joined(
        self, pieces: AsyncGenerator[ChatGenerationChunk]
    ) -> AsyncGenerator[ChatGenerationChunk]:
        first, texts = None, list[str]()
        async with aclosing(pieces):
            async for piece in pieces:
                is_text = _has_only_text(piece)
                if first is not None and not (is_text and _are_alike(first, piece)):
                    yield self._as_one(first, texts)
                    first, texts = None, []
                if not is_text:
                    yield piece
                    continue
                piece.message.id = self._message_id
                self._call(piece.text, piece)
                first = first or piece
                texts.append(piece.text)
        if first is not None:
            yield self._as_one(first, texts)

    def _as_one(self, first: ChatGenerationChunk, texts: list[str]) -> ChatGenerationChunk:
        text = "".join(texts)
        message = first.message.model_copy(update={"content": text})
        self._told = first.model_copy(update={"text": text, "message": message})
        return self._told

    def _call(self, token: Any, chunk: Any, **more: Any) -> None:
        name = "on_llm_new_token"
        handle_event(self._handlers, name, "ignore_llm", token, chunk=chunk, **self._run, **more)


def _are_direct(manager: AsyncCallbackManagerForLLMRun) -> bool:
    return all(handler.run_inline for handler in manager.handlers) and not any(
        inspect.iscoroutinefunction(handler.on_llm_new_token) for handler in manager.handlers
    )


def _has_only_text(piece: ChatGenerationChunk) -> bool:
    message = piece.message
    return (
        isinstance(message, AIMessageChunk)
        and isinstance(message.content, str)
        and not piece.generation_info
        and not message.additional_kwargs
        and not message.tool_call_chunks
        and message.usage_metadata is None
        and message.chunk_position is None
    )


def _are_alike(first: ChatGenerationChunk, piece: ChatGenerationChunk) -> bool:
    return first.message.response_metadata == piece.message.response_metadata
