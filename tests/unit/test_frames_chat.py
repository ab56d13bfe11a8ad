"""Token frames under the chat model: what LangChain and the OpenAI SDK make of them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import reduce
from operator import add
from typing import Any, ClassVar, cast
from uuid import UUID

import httpx2
import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.messages import AIMessageChunk, HumanMessage, message_chunk_to_message
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langchain_openai import ChatOpenAI

from agent.model.chat_model import ChatModel, make_chat_model
from agent.model.partial import partial_answer
from agent.settings import Settings
from tests.model_server import ModelServer, Reply, ToolCall, Usage
from tests.model_wire import chat_stream

REPLIES = [
    Reply("Grüß dich,\nold  friend 🎉", usage=Usage(5, 7)),
    Reply("Because.", reasoning="Let me think about it."),
    Reply(refusal="I would rather not say."),
    Reply(
        "Looking.",
        tool_calls=[
            ToolCall("look", {"where": 'at "the"\nmoon', "times": 2}, id="a"),
            ToolCall("walk", {"steps": list(range(30))}, id="b"),
        ],
    ),
]


@asynccontextmanager
async def chatting(
    url: str, frame_seconds: float, responses_api: bool = False
) -> AsyncIterator[tuple[ChatModel, httpx2.AsyncClient]]:
    """The chat model as the agent has it, and its HTTP client."""
    told = {"openai_base_url": url, "openai_api_key": "k", "steady_responses_api": responses_api}
    chat = make_chat_model(Settings.model_validate({**told, "steady_frame_seconds": frame_seconds}))
    assert isinstance(chat.http_async_client, httpx2.AsyncClient)
    async with chat.http_async_client as client:
        yield chat, client


async def message(reply: Reply, frame_seconds: float, responses_api: bool) -> dict[str, Any]:
    with ModelServer(tokens_per_second=1000) as model:
        model.on("Hi", reply)
        async with chatting(model.url, frame_seconds, responses_api) as (chat, _):
            return dumped([chunk async for chunk in chat.astream("Hi")])


def dumped(chunks: list[AIMessageChunk]) -> dict[str, Any]:
    whole = reduce(add, chunks).model_dump()
    whole["response_metadata"].pop("created_at", None)
    whole.pop("id")
    return whole


async def read_by_the_sdk(reply: Reply) -> dict[str, Any]:
    """The message as LangChain makes it of the OpenAI SDK's own objects."""
    with ModelServer(tokens_per_second=1000) as model:
        model.on("Hi", reply)
        async with chatting(model.url, 0.04) as (chat, _):
            chat.async_client = chat.root_async_client.chat.completions
            return dumped([chunk async for chunk in chat.astream("Hi")])


@pytest.mark.parametrize("reply", REPLIES)
async def test_parsed_answers_are_the_sdks(reply: Reply) -> None:
    """What does not go through the OpenAI SDK's objects becomes the same message."""
    assert await message(reply, 0.04, responses_api=False) == await read_by_the_sdk(reply)


async def test_pieces_of_text_are_langchains() -> None:
    """Each piece of text is what LangChain makes of its chunk, and shares nothing with others."""
    with ModelServer() as model:
        async with chatting(model.url, 0) as (chat, _):
            question = HumanMessage("stream 3 tokens")
            pieces = [piece async for piece in chat._astream([question])]
    texts = [piece for piece in pieces if piece.text]
    assert len(texts) == 3
    for piece in texts:
        delta = {"index": 0, "delta": {"content": piece.text}, "finish_reason": None}
        theirs = ChatOpenAI._convert_chunk_to_generation_chunk(
            chat, {"choices": [delta]}, AIMessageChunk, {}
        )
        assert piece == theirs
        piece.message.response_metadata["mine"] = piece.message.additional_kwargs["mine"] = True
        cast(AIMessageChunk, piece.message).tool_call_chunks.append(tool_call_chunk(name="mine"))


@pytest.mark.parametrize("is_inline", [True, False])
async def test_callbacks_get_each_piece_in_order(is_inline: bool) -> None:
    """Callbacks have had each piece before the next one, whether they are waited for or not, and
    one that fails ends the call where it asks for that."""

    class Inline(BaseCallbackHandler, _StreamingCallbackHandler):
        run_inline = raise_error = True
        texts: ClassVar[list[str]] = []

        def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
            return output

        def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
            return output

        def on_llm_new_token(self, token: str, *, run_id: UUID, **more: Any) -> None:
            if token == "fail":
                raise ValueError(run_id)
            self.texts.append(token)

    class Waited(AsyncCallbackHandler):
        texts: ClassVar[list[str]] = []

        async def on_llm_new_token(self, token: str, **more: Any) -> None:
            await asyncio.sleep(0)
            self.texts.append(token)

    handlers: list[BaseCallbackHandler] = [Inline()] if is_inline else [Inline(), Waited()]
    with ModelServer() as model:
        model.on("Fail", Reply("fail"))
        async with chatting(model.url, 0) as (chat, _):
            answer = await chat.ainvoke("stream 3 tokens", {"callbacks": handlers})
            for handler in cast(list[Inline | Waited], handlers):
                assert "".join(handler.texts) == answer.content
                assert len([text for text in handler.texts if text]) == 3
            with pytest.raises(ValueError, match="-"):
                await chat.ainvoke("Fail", {"callbacks": handlers})


async def test_pieces_are_gone_once_they_are_told() -> None:
    """A long answer of a call that gives it whole leaves no piece in memory but the first."""

    class Counting(BaseCallbackHandler):
        run_inline = raise_error = True
        most = 0

        def __init__(self) -> None:
            self.pieces = list[weakref.ref[ChatGenerationChunk]]()

        def on_llm_new_token(self, token: str, **more: Any) -> None:
            self.pieces.append(weakref.ref(more["chunk"]))
            self.most = max(self.most, sum(piece() is not None for piece in self.pieces))

    counting = Counting()
    with ModelServer(tokens_per_second=1000) as model:
        async with chatting(model.url, 0) as (chat, _):
            answer = await chat.ainvoke("stream 100 tokens", {"callbacks": [counting]})
    assert answer.text.count("word") == 100
    assert len(counting.pieces) >= 100
    assert counting.most < 10


@pytest.mark.parametrize("responses_api", [False, True])
@pytest.mark.parametrize("reply", REPLIES)
async def test_answers_given_whole_are_those_of_their_pieces(
    reply: Reply, responses_api: bool
) -> None:
    """The message of a call that gives it whole is what the pieces of a streamed one add up to."""

    class Pieces(BaseCallbackHandler):
        run_inline = raise_error = True

        def __init__(self) -> None:
            self.messages = list[AIMessageChunk]()

        def on_llm_new_token(self, token: str, **more: Any) -> None:
            self.messages.append(more["chunk"].message)

    pieces = Pieces()
    with ModelServer(tokens_per_second=1000) as model:
        model.on("Hi", reply)
        async with chatting(model.url, 0, responses_api) as (chat, _):
            answer = await chat.ainvoke("Hi", {"callbacks": [pieces]})
    told = message_chunk_to_message(reduce(add, pieces.messages))
    assert answer == told
    assert len({piece.id for piece in pieces.messages}) == 1


@pytest.mark.parametrize("responses_api", [False, True])
@pytest.mark.parametrize("reply", REPLIES)
async def test_messages_are_the_same_with_frames(reply: Reply, responses_api: bool) -> None:
    """The message that the chat model builds does not tell whether it came in frames."""
    whole = await message(reply, 0.04, responses_api)
    assert whole == await message(reply, 0, responses_api)
    assert str(reply.reasoning) in str(whole)
    assert len(whole["tool_calls"]) == len(reply.tool_calls)
    assert whole["usage_metadata"]["output_tokens"]


@pytest.mark.parametrize("frame_seconds", [0.04, 0])
async def test_model_calls_share_a_connection(frame_seconds: float) -> None:
    """The OpenAI SDK reads on to the end after `[DONE]`, so that the next call uses it again."""
    with ModelServer() as model:
        async with chatting(model.url, frame_seconds) as (chat, _):
            for _ in range(3):
                await chat.ainvoke("stream 5 tokens at 200 per second")
    assert len(model.requests) == 3
    assert len({request.client_port for request in model.requests}) == 1


async def test_endpoint_that_never_ends_its_response() -> None:
    """An answer is whole at `[DONE]`; a connection left open after it is closed, not kept."""
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        writer.writelines(event.data for event in chat_stream(Reply("Hello."), {}, 1))
        while await reader.read(1000):
            pass
        writer.close()
        closed.set()

    async with asyncio.timeout(60), await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with chatting(url, 0.04) as (chat, _):
            assert (await chat.ainvoke("Hi")).content == "Hello."
            await closed.wait()


class Held(AsyncCallbackHandler):
    """Hears of the first piece of text, and does not come back from it."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        if token:
            self.heard.set()
            await asyncio.Event().wait()


async def test_what_was_said_is_known_wherever_the_call_is_cut() -> None:
    """Also while it tells of a piece: the model's stream then closes when it comes to it."""
    held, known, is_time = Held(), list[Any](), asyncio.Event()

    async def close_late(response: httpx2.Response) -> None:
        stream = cast(Any, response.stream)
        close = stream.aclose

        async def close_in_time() -> None:
            await is_time.wait()
            await close()

        stream.aclose = close_in_time

    async def ask(chat: ChatModel) -> None:
        with partial_answer() as said:
            try:
                await chat.ainvoke("Hi", {"callbacks": [held]})
            except asyncio.CancelledError:
                known.extend(said)
                raise

    with ModelServer(tokens_per_second=20) as model:
        model.on("Hi", Reply("One two three four."))
        async with chatting(model.url, 0) as (chat, client):
            client.event_hooks = {"response": [close_late]}
            asked = asyncio.create_task(ask(chat))
            await held.heard.wait()
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert [call.partial.text for call in known] == ["One"]
            is_time.set()
