"""The messages of a run, compared with the state of its thread at the end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import Reasoning, Retry, Token, ToolCall, ToolCallDelta, ToolResult, Usage
from client.decoding.answer import Answer
from client.decoding.coalesce import coalesced

JSON = dict[str, Any]
QUESTION = {"type": "human", "id": "q", "content": "?"}


def ai(text: str, at: str = "m1") -> JSON:
    return {"type": "ai", "id": at, "content": text, "tool_calls": []}


def sent_answer(*texts: str, whole: bool = True) -> Answer:
    answer = Answer()
    for text in texts:
        answer.add_text("m1", text)
        answer.token("m1", text, "model")
    if whole:
        answer.finish("m1", "model")
    return answer


@given(st.lists(st.text(min_size=1), max_size=5), st.text(), st.text())
def test_after_the_last_word_the_tokens_are_the_state(
    pieces: list[str], state_text: str, added: str
) -> None:
    """Whatever arrived and whatever the thread holds, what is sent is the thread's text."""
    text = "".join(pieces)[: len(state_text)] + added
    sent = list(pieces)
    for event in sent_answer(*pieces).corrections({"messages": [QUESTION, ai(text)]}, 1):
        sent = [] if isinstance(event, Retry) else [*sent, event.content]
    assert not pieces or "".join(sent) == text


def test_a_right_text_is_left_alone() -> None:
    """Where the tokens are the thread's text there is nothing to say."""
    assert list(sent_answer("It is", " 42.").corrections({"messages": [ai("It is 42.")]}, 1)) == []


def test_a_wrong_text_is_corrected_with_a_retry() -> None:
    """Text that is not the thread's is taken back with a Retry, and sent again."""
    events = list(sent_answer("It is 43.").corrections({"messages": [ai("It is 42.")]}, 2))
    assert [type(event) for event in events] == [Retry, Token]
    assert isinstance(events[0], Retry)
    assert (events[0].attempt, events[0].message_id) == (2, "m1")
    assert events[1] == Token("It is 42.", "m1", "model")


def test_what_has_not_arrived_to_its_end_is_missing() -> None:
    """A message of the run counts once its end arrived; those of other turns do not count."""
    state = {"messages": [ai("Old.", "m0"), QUESTION, ai("It is 42.")]}
    assert sent_answer("It is 42.").missing(state, "q") == set()
    assert sent_answer("It is", whole=False).missing(state, "q") == {"m1"}
    assert Answer().missing(state, "q") == {"m1"}
    assert Answer().missing(state, None) == set()
    later = {"messages": [*state["messages"], {**QUESTION, "id": "q2"}, ai("Next.", "m2")]}
    assert sent_answer("It is 42.").missing(later, "q") == set()
    assert Answer().missing(later, "m0") == set()  # a question ends it
    assert Answer().missing({"messages": [ai("Call.", "m0"), *state["messages"][2:]]}, "m0") == {
        "m1"
    }


@pytest.mark.parametrize("mode", ["updates", "events"])
def test_each_mode_must_tell_the_end(mode: str) -> None:
    """Tokens can be whole where the update, or the event, that comes after them was cut off."""
    answer, state = sent_answer("It is 42."), {"messages": [QUESTION, ai("It is 42.")]}
    assert answer.missing(state, "q", frozenset({mode})) == {"m1"}
    if mode == "updates":
        answer.read_delta([{"messages": [ai("It is 42.")]}])
    else:
        end = {"event": "on_chat_model_end", "data": {"output": ai("It is 42.")}}
        answer.read_event(end, is_visible=False)
    assert answer.missing(state, "q", frozenset({mode})) == set()


def test_the_last_values_must_hold_all() -> None:
    """In `values` mode a message that only another mode brought is missing from the last state."""
    answer, state = sent_answer("It is 42."), {"messages": [QUESTION, ai("It is 42.")]}
    answer.read_state({"messages": [QUESTION]})
    assert answer.missing(state, "q") == {"m1"}
    answer.read_state(state)
    assert answer.missing(state, "q") == set()


def test_two_modes_count_each_piece_once() -> None:
    """Pieces that `messages` and `events` both bring make the text once."""
    answer = Answer()
    chunk = {"type": "AIMessageChunk", "id": "m1", "content": "Hi"}
    for _ in range(2):
        answer.add_text("m1", "Hi")
        answer.read_event({"event": "on_chat_model_stream", "data": {"chunk": chunk}})
    assert answer.text == "HiHi"


def test_a_new_attempt_takes_back_what_was_unfinished() -> None:
    """Messages without their end are taken back when the server runs the run again."""
    answer = sent_answer("Half", whole=False)
    assert list(answer.drop_unfinished(2, "again")) == [Retry(2, "m1", "again")]
    assert answer.text == ""
    assert list(sent_answer("Whole").drop_unfinished(2, "again")) == []


EVENTS = st.sampled_from(
    [
        Token("a", "m1", "model"),
        Token("b", "m2", "model"),
        Reasoning("c", "m1", "model"),
        ToolCallDelta("c1", "t", "d"),
        ToolCallDelta("c2", "t", "e"),
        Usage(1, 2),
    ]
)


@given(st.lists(EVENTS))
def test_what_arrives_together_is_told_together(events: list[Any]) -> None:
    """Neighbours of one source become one; all else, the order and the cursors stay."""
    events_out = list(coalesced(enumerate(events)))
    assert len(events_out) == sum(
        a != b or a == Usage(1, 2) for a, b in zip([None, *events], events, strict=False)
    )
    assert [cursor for cursor, _ in events_out] == sorted(cursor for cursor, _ in events_out)
    assert "".join(map(_text, events)) == "".join(_text(event) for _, event in events_out)


def _text(event: Any) -> str:
    return getattr(event, "content", "") or getattr(event, "args_text", "")


def test_a_stopped_run_tells_what_was_kept_and_never_arrived() -> None:
    """A message that was whole when the stop came is sent, and none of the runs before or after."""
    after = [{**QUESTION, "id": "q2"}, ai("Another's.", "m3")]
    state = {"messages": [ai("Earlier.", "m0"), QUESTION, ai("So.", "m1"), ai("Kept."), *after]}
    state["messages"][3]["id"] = "m2"
    (token,) = sent_answer("So.").unsent(state, "q")
    assert (token.content, token.message_id) == ("Kept.", "m2")


def test_a_stopped_run_tells_of_the_tools_it_had_called() -> None:
    """A call and its result that were kept as the stop came are sent; what arrived is not."""
    calls = [{"id": "c2", "name": "note", "args": {"text": "x"}}]
    results = [
        {"type": "tool", "id": f"t{n}", "tool_call_id": f"c{n}", "name": "note", "content": "ok"}
        for n in (1, 2)
    ]
    called = {**ai("So.", "m1"), "tool_calls": calls}
    answer = Answer()
    answer.note_seen(results[0])
    events_out = list(answer.unsent({"messages": [QUESTION, results[0], called, results[1]]}, "q"))
    assert events_out == [
        Token("So.", "m1", "model"),
        ToolCall("c2", "note", {"text": "x"}, "model"),
        ToolResult("c2", "note", "ok", "ok"),
    ]
    assert list(answer.unsent({"messages": [QUESTION, called, results[1]]}, "q")) == []


def test_a_stopped_run_tells_the_rest_of_what_had_begun() -> None:
    """A message that had begun: its text once, and its call before the call's result."""
    call = {"id": "c1", "name": "note", "args": {}}
    result = {"type": "tool", "id": "t1", "tool_call_id": "c1", "name": "note", "content": "ok"}
    state = {"messages": [QUESTION, {**ai("So."), "tool_calls": [call]}, result]}
    for sent in ("", "S", "So."):
        answer = Answer()
        answer.begin("m1")
        if sent:
            answer.add_text("m1", sent)
            answer.token("m1", sent, "model")
        events_out = list(answer.unsent(state, "q"))
        events = [*answer.corrections(state, 1), *events_out]
        assert sent + "".join(e.content for e in events if isinstance(e, Token)) == "So."
        assert [type(e) for e in events if not isinstance(e, Token)] == [ToolCall, ToolResult]
        assert answer.tool_calls == [call]


def test_without_a_question_only_a_stopped_message_is_told() -> None:
    """Whoever joins a run does not know which messages are its own: the mark says it."""
    marked = {**ai("Half"), "response_metadata": {"finish_reason": "stopped"}}
    assert list(Answer().unsent({"messages": [QUESTION, ai("Whole.")]}, None)) == []
    (token,) = Answer().unsent({"messages": [QUESTION, marked]}, None)
    assert token.content == "Half"
