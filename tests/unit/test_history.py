"""How much of a thread the model is sent."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately

from agent.history import latest_turns


def size(messages: list[AnyMessage]) -> int:
    return sum(count_tokens_approximately([message]) for message in messages)


@st.composite
def turns(draw: st.DrawFn) -> list[list[AnyMessage]]:
    """Turns with and without tool calls, short and long."""
    made: list[list[AnyMessage]] = []
    for n in range(draw(st.integers(1, 12))):
        words = st.integers(1, 400).map("word ".__mul__)
        turn: list[AnyMessage] = [HumanMessage(draw(words))]
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
