"""What the model is sent of a conversation is what LangChain would send."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_openai import ChatOpenAI

from agent.model.chat_model import make_chat_model
from agent.settings import Settings

CALL = {"name": "calculate", "args": {"expression": "6 * 7"}, "id": "call-1", "type": "tool_call"}
BLOCKS: list[Any] = [{"type": "text", "text": "In blocks."}]
MESSAGES: list[BaseMessage] = [
    SystemMessage("Be brief."),
    HumanMessage("What is 6 x 7?"),
    AIMessage("I reckon.", tool_calls=[CALL]),
    ToolMessage("42", tool_call_id="call-1"),
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("42", tool_call_id="call-1"),
    AIMessage("It is 42.", name="ada"),
    HumanMessage("In blocks?"),
    AIMessage(BLOCKS),
]


class Sealed(str):
    """A text that cannot be looked through."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("it was looked at character by character")


def settings(**more: Any) -> Settings:
    told = {"openai_base_url": "http://127.0.0.1:1/v1", "openai_api_key": "k", "steady_model": "m"}
    return Settings.model_validate({**told, **more})


def sent(model: ChatOpenAI, messages: list[BaseMessage]) -> Any:
    """The messages of a stream's request, wherever they stand in its body."""
    payload = model._get_request_payload(messages, stream=True)
    return {**payload, **(payload.get("extra_body") or {})}[
        "input" if "input" in payload else "messages"
    ]


@pytest.mark.parametrize("responses", [False, True])
def test_the_messages_are_langchains(responses: bool) -> None:
    """Texts, calls, results, blocks and names are those of ChatOpenAI, with either API."""
    ours = make_chat_model(settings(steady_responses_api=responses))
    plain = ChatOpenAI(model="m", api_key="k", use_responses_api=responses)  # type: ignore[arg-type]
    assert sent(ours, MESSAGES) == sent(plain, MESSAGES)


def test_a_long_answer_is_not_looked_through() -> None:
    """An answer goes out whole, and the conversation's own message is left as it was."""
    answer = AIMessage.model_construct(content=Sealed("It is 42."), tool_calls=[])
    told = sent(make_chat_model(settings()), [answer])
    assert told == [{"role": "assistant", "content": "It is 42."}]
    assert answer.content == "It is 42."
