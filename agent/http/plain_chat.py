"""The plain chat's stream: the chain's tokens, in process, with a time limit."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from langchain_core.messages import AIMessage, convert_to_messages

from agent.chain import PROMPT
from agent.http.runs import HEAD_SECONDS, Events, IdAndEvent, await_first, error_body
from agent.http.schemas import ChatQuestion
from agent.model.chat_model import chat_model
from agent.model.errors import ModelError
from agent.telemetry.runs import MeasuredRun
from client import ModelFailed, RunTimedOut, SteadyError

_WHOLE = (None, "stop")  # what an answer that needs no word about its end ended with


async def answer_events(question: ChatQuestion, limit_seconds: float) -> Events:
    """The answer's events, once the first is there or is long in coming. Raises SteadyError."""
    return await await_first(_token_events(question, limit_seconds), HEAD_SECONDS)


def chat_error_events(error: SteadyError) -> list[IdAndEvent]:
    """An error as the event that ends the answer."""
    return [(None, error_body(error))]


async def _token_events(question: ChatQuestion, limit_seconds: float) -> Events:
    """Raises SteadyError."""
    end = time.monotonic() + limit_seconds
    history = convert_to_messages([message.model_dump() for message in question.history])
    # not the chain's own `astream`, which keeps a copy of all pieces until the last
    prompt = await PROMPT.ainvoke({"question": question.question, "history": history})
    reason = None
    try:
        with MeasuredRun("chat_route") as run, run.calls():
            pieces = chat_model().astream(prompt)
            async with aclosing(cast(AsyncGenerator[AIMessage], pieces)) as answer:
                # closed: a reader who leaves ends the model's answer
                while (piece := await _next(answer, end)) is not None:
                    reason = piece.response_metadata.get("finish_reason") or reason
                    if piece.text:
                        yield None, {"token": piece.text}
    except ModelError as error:
        raise ModelFailed(str(error)) from error
    except TimeoutError as error:
        raise RunTimedOut(
            f"The answer took longer than {limit_seconds:g} s (STEADY_CHAIN_SECONDS)."
        ) from error
    yield None, {"done": True, **({} if reason in _WHOLE else {"finish_reason": reason})}


async def _next(pieces: AsyncGenerator[AIMessage], end: float) -> AIMessage | None:
    async with asyncio.timeout(end - time.monotonic()):
        return await anext(pieces, None)
