"""What the model is sent of conversations that strict endpoints refuse."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_to_dict,
)

from agent.model.chat_model import make_chat_model
from agent.model.requests import NO_ANSWER, NO_RESULT, as_endpoints_take_it
from tests.unit.test_payload import sent, settings

# Made once: with its connections it costs more than what is tested.
MODEL = make_chat_model(settings())


def calling(*ids: str, text: str = "") -> AIMessage:
    calls: list[Any] = [{"name": "look", "args": {}, "id": at, "type": "tool_call"} for at in ids]
    return AIMessage(text, tool_calls=calls)


def shown(messages: list[BaseMessage]) -> list[tuple[str, Any]]:
    return [(message.type, message.content) for message in as_endpoints_take_it(messages)]


def test_a_turn_after_one_that_failed() -> None:
    """Between two questions in a row stands that the first had no answer."""
    messages = [HumanMessage("First?"), HumanMessage("Second?"), AIMessage("Both.")]
    expected = [("human", "First?"), ("ai", NO_ANSWER), ("human", "Second?"), ("ai", "Both.")]
    assert shown(messages) == expected


def test_a_summary_of_earlier_turns_is_no_question() -> None:
    """LangChain's summary, a message of the user, becomes one with the question after it."""
    mark = {"lc_source": "summarization"}
    messages = [HumanMessage("So far.", additional_kwargs=mark), HumanMessage("And?")]
    assert shown(messages) == [("human", "So far.\n\nAnd?")]


def test_an_empty_answer_is_left_out() -> None:
    """An assistant message with neither content nor calls is not sent as it is."""
    messages = [HumanMessage("First?"), AIMessage(""), HumanMessage("Second?")]
    assert shown(messages) == [("human", "First?"), ("ai", NO_ANSWER), ("human", "Second?")]
    assert shown([HumanMessage("First?"), AIMessage("")]) == [("human", "First?")]


def test_a_call_without_a_result_gets_one() -> None:
    """The result says so; those that are there stay, in their order."""
    messages = [
        HumanMessage("Look."),
        calling("a", "b"),
        ToolMessage("seen", tool_call_id="b"),
        HumanMessage("And?"),
    ]
    results = [("tool", "seen"), ("tool", NO_RESULT)]
    assert shown(messages)[2:] == [*results, ("human", "And?")]
    stricter = as_endpoints_take_it(messages, answer_after_results=True)
    assert [message.content for message in stricter[-2:]] == [NO_ANSWER, "And?"]


def test_a_result_without_a_call_is_left_out() -> None:
    """Neither a stray result nor a second one of the same call is sent."""
    messages = [
        HumanMessage("Look."),
        ToolMessage("stray", tool_call_id="x"),
        calling("a"),
        ToolMessage("seen", tool_call_id="a"),
        ToolMessage("seen again", tool_call_id="a"),
        AIMessage("Done."),
    ]
    kinds = [kind for kind, _ in shown(messages)]
    assert kinds == ["human", "ai", "tool", "ai"]


def test_a_list_of_results_becomes_text() -> None:
    """Blocks of text are joined by line, others are told of or written as JSON."""
    blocks: list[Any] = [
        {"type": "text", "text": "It is 21 °C.", "id": "lc_1"},
        "Windy.",
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "json", "json": {"wind": "5 m/s"}},
    ]
    (content,) = [
        content
        for kind, content in shown([calling("a"), ToolMessage(blocks, tool_call_id="a")])
        if kind == "tool"
    ]
    lines = content.splitlines()
    assert lines[:2] == ["It is 21 °C.", "Windy."]
    assert "image" in lines[2]
    assert "AAAA" not in content
    assert json.loads(lines[3])["json"] == {"wind": "5 m/s"}


def test_two_answers_in_a_row_are_one() -> None:
    """Texts have a blank line between them, blocks stay blocks, and calls are kept."""
    block: Any = {"type": "text", "text": "Two."}
    merged = as_endpoints_take_it([AIMessage("One."), AIMessage([block]), calling("a")])
    assert merged[0].content == [{"type": "text", "text": "One."}, block]
    merged = as_endpoints_take_it([AIMessage("One."), calling("a", text="Two.")])
    assert merged[0].content == "One.\n\nTwo."
    assert isinstance(merged[0], AIMessage)
    assert merged[0].tool_calls == calling("a").tool_calls


texts = st.sampled_from(["", "one", "two"])
ids = st.sampled_from("abc")
conversations = st.lists(
    st.one_of(
        texts.filter(bool).map(HumanMessage),
        texts.map(AIMessage),
        st.lists(ids, min_size=1, unique=True).map(lambda at: calling(*at)),
        st.tuples(ids, texts).map(lambda it: ToolMessage(it[1], tool_call_id=it[0])),
        st.just(SystemMessage("Be brief.")),
    ),
    max_size=12,
)


@given(conversations)
def test_any_conversation_is_taken_by_a_strict_endpoint(messages: list[BaseMessage]) -> None:
    """Roles alternate, no message is empty, and each call has its one result right behind it."""
    before = messages_to_dict(messages)
    request = sent(MODEL, list(messages))
    assert messages_to_dict(messages) == before
    open_calls: list[str] = []
    last = ""
    for message in request:
        role = message["role"]
        if role == "tool":
            assert isinstance(message["content"], str)
            open_calls.remove(message["tool_call_id"])
            continue
        assert not open_calls
        if role == "assistant":
            assert message["content"] or message.get("tool_calls")
            open_calls = [call["id"] for call in message.get("tool_calls", ())]
        if role == "user":
            assert last != "user"
        last = role
    assert not open_calls


@given(conversations)
def test_mending_twice_changes_nothing(messages: list[BaseMessage]) -> None:
    """What endpoints take is left alone: the same thread is always the same request."""
    once = as_endpoints_take_it(messages)
    assert as_endpoints_take_it(once) == once


@given(conversations, texts.filter(bool))
def test_a_request_begins_with_the_one_before(messages: list[BaseMessage], text: str) -> None:
    """When a thread with a whole turn grows, all but its last message is sent as before."""
    before = as_endpoints_take_it([*messages, HumanMessage("Now?"), AIMessage("So.")])
    after = as_endpoints_take_it(
        [*messages, HumanMessage("Now?"), AIMessage("So."), HumanMessage(text)]
    )
    assert after[: len(before)] == before
