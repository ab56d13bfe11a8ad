"""The scripted model, read by the client that the agent uses."""

from __future__ import annotations

import time
from functools import reduce
from operator import add
from typing import Any

import httpx
import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from tests.model_server import Fault, ModelServer, Reply, ToolCall, Usage


def chat(model: ModelServer, **options: Any) -> ChatOpenAI:
    settings = {"model_name": "m", "api_key": "k", "max_retries": 0, "stream_usage": True}
    return ChatOpenAI(base_url=model.url, **{**settings, **options})


def streamed(chat: ChatOpenAI, question: Any) -> AIMessageChunk:
    return reduce(add, chat.stream(question))


def test_text_is_streamed_word_by_word() -> None:
    """A scripted text arrives token by token and joins to exactly that text."""
    with ModelServer() as model:
        model.on("Hello?", Reply("Grüß dich,\nold  friend 🎉 "))
        texts = [str(chunk.content) for chunk in chat(model).stream("Hello?") if chunk.content]
    assert texts == ["Grüß", " dich,", "\nold", "  friend", " 🎉", " "]
    assert model.requests[0]["messages"][-1]["content"] == "Hello?"
    assert model.requests[0].authorization == "Bearer k"


@pytest.mark.parametrize("responses_api", [False, True])
def test_tool_turn(responses_api: bool) -> None:
    """The first model call of a turn asks for tools, the second sees the result and answers."""
    calls = [ToolCall("multiply", {"a": 6, "b": 7}), ToolCall("look", '{"at": "moon"}', id="x")]
    with ModelServer() as model:
        model.on("6 x 7?", Reply(tool_calls=calls), Reply("42."))
        llm = chat(model, use_responses_api=responses_api)
        asked = streamed(llm, "6 x 7?")
        results = [ToolMessage("42", tool_call_id=call["id"]) for call in asked.tool_calls]
        answer = streamed(llm, [HumanMessage("6 x 7?"), asked, *results])
    assert [call["args"] for call in asked.tool_calls] == [{"a": 6, "b": 7}, {"at": "moon"}]
    assert [call["name"] for call in asked.tool_calls] == ["multiply", "look"]
    assert asked.tool_calls[1]["id"] == "x"
    assert answer.text == "42."


@pytest.mark.parametrize("responses_api", [False, True])
def test_usage(responses_api: bool) -> None:
    """Scripted token counts reach the message when the reader asks for them."""
    with ModelServer() as model:
        model.on("Hello?", Reply("Hello.", usage=Usage(11, 3)))
        answer = streamed(chat(model, use_responses_api=responses_api), "Hello?")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 11
    assert answer.usage_metadata["output_tokens"] == 3


def test_reasoning_is_on_the_wire() -> None:
    """Reasoning is streamed as `reasoning_content` deltas, before the text."""
    with ModelServer() as model:
        model.on("Why?", Reply("Because.", reasoning="Let me think."))
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}
        wire = httpx.post(f"{model.url}/chat/completions", json=body).text
    assert wire.index('{"reasoning_content":" think."}') < wire.index('{"content":"Because."}')
    assert wire.endswith("data: [DONE]\n\n")


def test_responses_api_streams_reasoning_summaries() -> None:
    """Over the Responses API the reasoning summary and the text arrive as content blocks."""
    with ModelServer() as model:
        model.on("Why?", Reply("Because I say so.", reasoning="Let me think."))
        answer = streamed(chat(model, use_responses_api=True), "Why?")
    blocks = answer.content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "text"]
    assert blocks[0]["reasoning"] == "Let me think."  # type: ignore[typeddict-item]
    assert answer.text == "Because I say so."


@pytest.mark.parametrize("responses_api", [False, True])
def test_reply_that_is_not_streamed(responses_api: bool) -> None:
    """Without streaming the whole reply comes as one body."""
    with ModelServer() as model:
        model.on("Hello?", Reply("Hello.", tool_calls=[ToolCall("wave", {"hands": 2})]))
        answer = chat(model, use_responses_api=responses_api).invoke("Hello?")
    assert isinstance(answer, AIMessage)
    assert answer.text == "Hello."
    assert answer.tool_calls[0]["args"] == {"hands": 2}


def test_key_and_model_are_checked() -> None:
    """A wrong key is a 401 and an unknown model a 404, in OpenAI's shape."""
    with ModelServer(api_key="k", models=["m"]) as model:
        assert chat(model).invoke("Hello?").content == "You said: Hello?"
        with pytest.raises(openai.AuthenticationError) as wrong_key:
            chat(model, api_key="wrong").invoke("Hello?")
        with pytest.raises(openai.NotFoundError) as unknown_model:
            chat(model, model_name="other").invoke("Hello?")
    assert wrong_key.value.code == "invalid_api_key"
    assert unknown_model.value.code == "model_not_found"


def test_first_attempts_fail() -> None:
    """The faults in `fails` hit one request each; the next request gets the reply."""
    busy = Fault(status=429, headers={"Retry-After": "0"})
    with ModelServer() as model:
        model.on("Hello?", Reply("Hello.", fails=[busy, Fault("disconnect")]))
        with pytest.raises(openai.RateLimitError):
            chat(model).invoke("Hello?")
        with pytest.raises(openai.APIConnectionError):
            chat(model).invoke("Hello?")
        assert chat(model).invoke("Hello?").content == "Hello."


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("disconnect", openai.APIConnectionError),
        ("error_event", openai.APIError),
        ("bad_json", ValueError),
    ],
)
def test_fault_in_mid_stream(kind: Any, error: type[Exception]) -> None:
    """A fault strikes after the scripted number of tokens, which have all arrived."""
    texts: list[str] = []
    with ModelServer() as model:
        model.on("Count.", Reply("one two three four", fault=Fault(kind, after_tokens=2)))
        with pytest.raises(error):
            texts.extend(str(chunk.content) for chunk in chat(model).stream("Count."))
    assert "".join(texts) == "one two"


def test_clean_end_in_mid_stream() -> None:
    """A response can end cleanly, with neither a finish reason nor `[DONE]`."""
    body = {"stream": True, "messages": [{"role": "user", "content": "Count."}]}
    with ModelServer() as model:
        model.on("Count.", Reply("one two three", fault=Fault("end", after_tokens=2)))
        wire = httpx.post(f"{model.url}/chat/completions", json=body).text
    assert wire.endswith('{"content":" two"},"logprobs":null,"finish_reason":null}]}\n\n')


@pytest.mark.parametrize("fault", [None, Fault("stall", after_tokens=1)])
def test_reader_that_leaves_is_noticed(fault: Fault | None) -> None:
    """A stream that its reader closes early is counted, even while the model is silent."""
    body = {"stream": True, "messages": [{"role": "user", "content": "Count."}]}
    with ModelServer(tokens_per_second=10) as model:
        model.on("Count.", Reply("one two three " * 100, fault=fault))
        with httpx.stream("POST", f"{model.url}/chat/completions", json=body) as response:
            arriving = response.iter_bytes()  # kept: a generator that is dropped closes the stream
            next(arriving)
            model.wait_for(lambda model: model.open_streams == 1)
        model.wait_for(lambda model: model.disconnects == 1 and model.open_streams == 0)


def test_a_slow_answer_can_be_hurried() -> None:
    """What is being said goes out at once; what is asked later has its pace again."""
    body = {"stream": True, "messages": [{"role": "user", "content": "Count."}]}
    with ModelServer() as model:
        model.on("Count.", Reply("one two three " * 1000, tokens_per_second=0.1))
        for _ in range(2):
            with httpx.stream("POST", f"{model.url}/chat/completions", json=body) as response:
                arriving = response.iter_bytes()
                next(arriving)
                model.wait_for(lambda model: model.open_streams == 1)
                model.hurry()
                assert b"[DONE]" in b"".join(arriving)


def test_pace_follows_a_schedule() -> None:
    """Token i leaves at i / rate, and no earlier."""
    with ModelServer() as model:
        started = time.monotonic()
        answer = streamed(chat(model), "stream 200 tokens at 1000 per second")
        elapsed_seconds = time.monotonic() - started
    assert str(answer.content).split()[-1] == "word199"
    assert elapsed_seconds >= 0.199


def test_directives_need_no_script() -> None:
    """A question can say by itself what the model does, for a server in another process."""
    with ModelServer() as model:
        calls = streamed(chat(model), 'call look {"at": "moon"}').tool_calls
        with pytest.raises(openai.InternalServerError):
            streamed(chat(model), "fail 503")
    assert [(call["name"], call["args"]) for call in calls] == [("look", {"at": "moon"})]
