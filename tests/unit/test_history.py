"""How much of a thread the model is sent."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langgraph._internal._typing import MISSING
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import (
    REMOVE_ALL_MESSAGES,
    _messages_delta_reducer,
    add_messages,
)

from agent.middleware.thread_state import MessagesChannel, ThreadState
from agent.middleware.trim_history import latest_turns
from agent.model.token_count import count_message


def size(messages: list[AnyMessage]) -> int:
    return sum(map(count_message, messages))


@st.composite
def turns(draw: st.DrawFn) -> list[list[AnyMessage]]:
    """Turns with and without tool calls, short and long, of texts and blocks, with names."""
    made: list[list[AnyMessage]] = []
    for n in range(draw(st.integers(1, 12))):
        words = st.integers(1, 2000).map("x".__mul__)
        blocks = words.map(lambda text: [{"type": "text", "text": text}])
        name = draw(st.sampled_from([None, "ann"]))
        turn: list[AnyMessage] = [HumanMessage(draw(words | blocks), name=name)]
        for call in range(draw(st.integers(0, 3))):
            at = f"{n}-{call}"
            turn.append(AIMessage("", tool_calls=[{"id": at, "name": "calculate", "args": {}}]))
            turn.append(ToolMessage(draw(words), tool_call_id=at))
        made.append([*turn, AIMessage(draw(words))])
    return made


@given(turns(), st.integers(1, 3000))
def test_only_whole_turns_go_the_oldest_first(made: list[list[AnyMessage]], tokens: int) -> None:
    """What is sent is the thread from the beginning of a turn on, and always the present turn."""
    thread = [message for turn in made for message in turn]
    sent = latest_turns(thread, tokens)
    assert sent in [[m for turn in made[first:] for m in turn] for first in range(len(made))]


@given(turns(), st.integers(1, 3000))
def test_it_fits_where_turns_fit(made: list[list[AnyMessage]], tokens: int) -> None:
    """More than the number of tokens is sent only where the present turn alone is more."""
    sent = latest_turns([message for turn in made for message in turn], tokens)
    assert size(sent) <= tokens or sent == made[-1]


@given(turns(), st.integers(1, 3000))
def test_what_fits_is_sent_whole(made: list[list[AnyMessage]], tokens: int) -> None:
    """A thread within the number of tokens is not touched."""
    thread = [message for turn in made for message in turn]
    assert latest_turns(thread, max(tokens, size(thread))) == thread


def test_the_beginning_stays_the_same_for_many_turns() -> None:
    """A growing thread is cut in blocks, so that the endpoint's prompt cache fits the next turn."""
    thread: list[AnyMessage] = []
    firsts = []
    for n in range(300):
        thread += [HumanMessage(f"{n} " + "word " * 60), AIMessage("word " * 60)]
        firsts.append(latest_turns(thread, 10_000)[0].text[:4])
    changes = sum(before != after for before, after in pairwise(firsts))
    assert 3 <= changes <= 12


def test_a_thread_without_a_person_is_sent_as_it_is() -> None:
    """Where no turn begins there is nothing to cut at."""
    thread: list[AnyMessage] = [AIMessage("word " * 1000)] * 3
    assert latest_turns(thread, 10) == thread


# What is kept


ids = st.sampled_from("abcdef")
written = st.lists(
    st.one_of(
        ids.map(lambda at: HumanMessage(f"text of {at}", id=at)),
        st.text("xyz", min_size=3).map(lambda at: AIMessage(at, id=at)),
        st.just(RemoveMessage(REMOVE_ALL_MESSAGES)),
    ),
    max_size=5,
    unique_by=lambda message: message.id,  # add_messages keeps both after a removal of all
)


@given(st.lists(written, max_size=8), st.data())
def test_the_same_is_kept_as_without_deltas(writes: list[Any], data: st.DataObject) -> None:
    """Step by step or replayed in any batches, the channel holds what `add_messages` makes."""
    whole: list[Any] = []
    for write in writes:
        whole = list(add_messages(whole, write))
    spec = MessagesChannel(_messages_delta_reducer, list)
    stepped, replayed = (spec.from_checkpoint(MISSING) for _ in range(2))
    for write in writes:
        stepped.update([write])
    rest = list(writes)
    while rest:
        batch = data.draw(st.integers(1, len(rest)))
        replayed.replay_writes([("task", "messages", write) for write in rest[:batch]])
        rest = rest[batch:]
    assert stepped.get() == whole
    assert replayed.get() == whole


async def test_a_message_without_an_id_gets_one_for_good() -> None:
    """However a message was given, it has an id, and the same one whenever the thread is read."""
    built = StateGraph(ThreadState).add_node("node", lambda state: {}).add_edge(START, "node")
    graph = built.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "a"}}
    given: list[Any] = [("user", "pair"), {"role": "user", "content": "dict"}, HumanMessage("m")]
    for message in given:
        await graph.ainvoke({"messages": [message]}, config)
    await graph.ainvoke({"messages": "text"}, config)  # type: ignore[arg-type]
    first, again = [(await graph.aget_state(config)).values["messages"] for _ in range(2)]
    assert [message.text for message in first] == ["pair", "dict", "m", "text"]
    assert all(message.id for message in first)
    assert first == again
