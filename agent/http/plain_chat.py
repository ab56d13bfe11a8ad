"""The plain chat's stream: the chain's tokens, in process, with a time limit."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from langchain_core.messages import AIMessage, convert_to_messages

from agent.chain import PROMPT
from agent.http.runs import HEAD_SECONDS, ChatError, Placed, first_awaited
from agent.http.schemas import ChatQuestion
from agent.model.chat_model import chat_model
from agent.model.errors import ModelError


async def answered(question: ChatQuestion, limit_seconds: float) -> AsyncGenerator[Placed]:
    """The answer's events, once the first is there or is long in coming. Raises ChatError."""
    return _in_band(await first_awaited(_tokens(question, limit_seconds), HEAD_SECONDS))


async def _tokens(question: ChatQuestion, limit_seconds: float) -> AsyncGenerator[Placed]:
    """Raises ChatError."""
    end = time.monotonic() + limit_seconds
    history = convert_to_messages([said.model_dump() for said in question.history])
    asked = {"question": question.question, "history": history}
    # not the chain's own `astream`, which keeps a copy of all pieces until the last
    prompt = await PROMPT.ainvoke(asked)
    pieces = cast(AsyncGenerator[AIMessage], chat_model().astream(prompt))
    try:
        async with aclosing(pieces):  # a reader who leaves ends the model's answer
            while (piece := await _next(pieces, end)) is not None:
                if piece.text:
                    yield None, {"token": piece.text}
    except ModelError as error:
        raise ChatError(502, "model_failed", str(error), retryable=True) from error
    except TimeoutError as error:
        told = f"The answer took longer than {limit_seconds:g} s (STEADY_CHAIN_SECONDS)."
        raise ChatError(504, "timeout", told, retryable=True) from error
    yield None, {"done": True}


async def _next(pieces: AsyncGenerator[AIMessage], end: float) -> AIMessage | None:
    async with asyncio.timeout(end - time.monotonic()):
        return await anext(pieces, None)


async def _in_band(events: AsyncGenerator[Placed]) -> AsyncGenerator[Placed]:
    async with aclosing(events):
        try:
            async for placed in events:
                yield placed
        except ChatError as error:
            yield None, error.body
