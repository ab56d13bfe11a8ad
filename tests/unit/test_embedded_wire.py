"""The embedded model's OpenAI wire: requests, answers, and arguments that fit their schema."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.embedded.turn import fitting_arguments, is_loop, without_examples
from agent.embedded.wire import (
    Answer,
    Arguments,
    BadRequest,
    CallStarted,
    Finished,
    Function,
    Part,
    Text,
    Usage,
    parse,
)

CLOCK = Function(
    name="clock",
    description="The time in a zone, such as 'Europe/Paris'.",
    parameters={"type": "object", "properties": {"zone": {"type": "string"}}},
)
STRICT = Function(
    name="add",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)


def _body(**fields: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode()


def _tools(*functions: Function) -> list[dict[str, Any]]:
    return [{"type": "function", "function": f.model_dump()} for f in functions]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 2}'),
        ('{"a": 1, "b": "2"}', None),
        ('{"a": 1}', None),
        ('{"a": 1, "b": 2, "c": 3}', None),
        ('{"a": 1, "b": ', None),
        ("[]", None),
        ("nonsense", None),
    ],
)
def test_arguments_that_do_not_fit_the_schema_are_no_call(written: str, kept: str | None) -> None:
    """Only whole JSON that the function's own schema allows becomes a call."""
    assert fitting_arguments(written, STRICT, "") == kept


@given(st.text())
def test_whatever_is_written_is_a_fitting_call_or_none(written: str) -> None:
    """No text that a model writes raises."""
    kept = fitting_arguments(written, CLOCK, "hello")
    assert kept is None or isinstance(json.loads(kept), dict)


def test_a_copied_example_is_left_out_unless_it_was_asked_for() -> None:
    """An optional argument that only repeats the description's example was not meant."""
    example = {"zone": "Europe/Paris"}
    assert without_examples(example, CLOCK, "what time is it?") == {}
    assert without_examples(example, CLOCK, "the time in Paris?") == example


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"messages": []}',
        _body(temperature=9),
        _body(tool_choice="required"),
        _body(tool_choice={"type": "function", "function": {"name": "other"}}),
        _body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
    ],
)
def test_a_request_that_cannot_be_served_is_refused_as_one(body: bytes) -> None:
    """Whatever is wrong with a body ends as a BadRequest that says what."""
    with pytest.raises(BadRequest, match=r"\w"):
        parse(body)


def test_text_parts_are_joined_and_unknown_fields_are_ignored() -> None:
    """A message may come in parts, and a request may ask for more than is known."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = parse(_body(messages=[{"role": "user", "content": parts}], logit_bias={}))
    assert asked.messages[0].content == "ab"


def test_tool_choice_forbids_demands_or_names_a_function() -> None:
    """`none` hides the functions, `required` asks for any, a name asks for that one."""
    tools = _tools(CLOCK, STRICT)
    named = {"type": "function", "function": {"name": "add"}}
    assert parse(_body(tools=tools, tool_choice="none")).functions == []
    assert parse(_body(tools=tools, tool_choice="required")).forced == ""
    assert parse(_body(tools=tools, tool_choice=named)).forced == "add"
    assert parse(_body(tools=tools)).forced is None


def _streamed(parts: Sequence[Part]) -> dict[str, Any]:
    answer, text, call = Answer("id", "m"), "", {"name": "", "arguments": ""}
    for part in parts:
        delta = answer.chunk(part)["choices"][0]["delta"]
        text += delta.get("content") or ""
        for piece in delta.get("tool_calls", []):
            for key, value in piece["function"].items():
                call[key] += value
    return {"content": text or None, "call": call if call["name"] else None}


texts = st.lists(st.builds(Text, st.text()))
calls = st.builds(
    lambda pieces: [CallStarted("1", "add"), *pieces], st.lists(st.builds(Arguments, st.text()))
)


@given(st.one_of(texts, calls))
def test_an_answer_is_the_same_whole_or_in_chunks(parts: list[Part]) -> None:
    """However an answer is split, its chunks join to the message that comes without streaming."""
    whole = Answer("id", "m").whole([*parts, Finished("stop", Usage(1, 2))])
    message = whole["choices"][0]["message"]
    call = message.get("tool_calls", [{"function": None}])[0]["function"]
    assert _streamed(parts) == {"content": message["content"], "call": call}
    assert whole["usage"]["total_tokens"] == 3


def test_a_list_is_no_example_of_the_description() -> None:
    """An optional argument of any JSON type is kept as the model wrote it."""
    listed = {"type": "array", "items": {"type": "string"}}
    parameters = {
        "type": "object",
        "properties": {"tags": {"anyOf": [listed, {"type": "null"}]}, "more": {"type": "object"}},
    }
    function = Function(name="tag", description="Tag it, such as 'red'.", parameters=parameters)
    for arguments in ({"tags": ["red"]}, {"tags": None}, {"more": {"a": 1}}, {}):
        written = json.dumps(arguments)
        assert fitting_arguments(written, function, "Tag it.") == written


@given(before=st.text(max_size=300), times=st.integers(3, 6))
def test_an_answer_that_repeats_itself_is_a_loop(before: str, times: int) -> None:
    """A passage three times in a row at the end is one; twice, or lines without words, are not."""
    passage = "Let me know if there is anything else that you need.\n"
    assert is_loop(before + passage * times)
    assert not is_loop("Once: " + passage * 2)
    assert not is_loop("-" * 400 + "\n")
    assert not is_loop("| - | - |\n" * 40)
