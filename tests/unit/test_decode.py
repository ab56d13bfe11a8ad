"""The decoder, over stream parts as the server sends them."""

from typing import Any

import pytest

from client import (
    Checkpoint,
    Debug,
    Event,
    ModelFailed,
    Progress,
    Reasoning,
    RunFailed,
    RunStarted,
    Task,
    Token,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    Update,
    Usage,
    Values,
)
from client.decoding.decoder import WIRE_MODES, Decoder
from client.events import AgentEvent, Mode

JSON = dict[str, Any]
META = {"langgraph_node": "model", "langgraph_step": 1}


def chunk(content: Any = "", **more: Any) -> list[JSON]:
    """A `messages` part's data: a piece of the model's message, and where it came from."""
    return [{"type": "AIMessageChunk", "id": "m1", "content": content, **more}, META]


def call_piece(args: str, id: str | None = None, name: str | None = None, index: int = 0) -> JSON:
    return {"type": "tool_call_chunk", "id": id, "name": name, "args": args, "index": index}


def decoded(decoder: Decoder, *parts: tuple[str, Any]) -> list[AgentEvent]:
    return [event for name, data in parts for event in decoder.decode(name, data)]


ANSWER = [
    ("metadata", {"run_id": "r1", "attempt": 1}),
    ("messages", chunk()),
    ("messages", chunk("It is")),
    ("messages", chunk(" 42.")),
    ("messages", chunk(usage_metadata={"input_tokens": 9, "output_tokens": 3, "total_tokens": 12})),
    ("messages", chunk(chunk_position="last")),
]


def test_an_answer_is_started_told_and_counted() -> None:
    """The run's start, each text once, and the counts; empty pieces are no events."""
    decoder = Decoder("t1")
    assert decoded(decoder, *ANSWER) == [
        RunStarted("r1", "t1", 1),
        Token("It is", "m1", "model"),
        Token(" 42.", "m1", "model"),
        Usage(9, 3),
    ]
    assert (decoder.run_id, decoder.answer.text) == ("r1", "It is 42.")


def test_a_tool_call_is_told_as_it_is_written_and_once_whole() -> None:
    """Pieces of arguments go out with the call's id and name; the whole follows the last."""
    decoder = Decoder()
    events = decoded(
        decoder,
        ("messages", chunk(tool_call_chunks=[call_piece("", "c1", "calculate")])),
        ("messages", chunk(tool_call_chunks=[call_piece('{"expr')])),
        ("messages", chunk(tool_call_chunks=[call_piece('ession": "6*7"}')])),
        ("messages", chunk(chunk_position="last")),
    )
    assert events == [
        ToolCallDelta("c1", "calculate", '{"expr'),
        ToolCallDelta("c1", "calculate", 'ession": "6*7"}'),
        ToolCall("c1", "calculate", {"expression": "6*7"}, "model"),
    ]
    wanted = {"id": "c1", "name": "calculate", "args": {"expression": "6*7"}}
    assert decoder.answer.tool_calls == [wanted]


def test_calls_written_side_by_side_are_kept_apart() -> None:
    """Pieces of two calls, in turns, go by their index."""
    both = [call_piece('{"a"', "c1", "one"), call_piece('{"b"', "c2", "two", 1)]
    rest = [call_piece(": 2}", index=1), call_piece(": 1}")]
    events = decoded(
        Decoder(),
        ("messages", chunk(tool_call_chunks=both)),
        ("messages", chunk(tool_call_chunks=rest)),
        ("messages", chunk(chunk_position="last")),
    )
    assert [e for e in events if isinstance(e, ToolCall)] == [
        ToolCall("c1", "one", {"a": 1}, "model"),
        ToolCall("c2", "two", {"b": 2}, "model"),
    ]


@pytest.mark.parametrize(
    ("args", "whole"),
    [
        ("", {}),
        ("{}", {}),
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ('{"a":', None),
        ("[1]", None),
        ("null", None),
    ],
)
def test_only_a_json_object_is_a_whole_call(args: str, whole: JSON | None) -> None:
    """No arguments are an empty object; what is broken or no object makes no call."""
    events = decoded(
        Decoder(),
        ("messages", chunk(tool_call_chunks=[call_piece(args, "c1", "t")])),
        ("messages", chunk(chunk_position="last")),
    )
    args = [e.args for e in events if isinstance(e, ToolCall)]
    assert args == ([] if whole is None else [whole])


@pytest.mark.parametrize(
    "thinking",
    [
        chunk(additional_kwargs={"reasoning_content": "Hm."}),
        chunk([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}]),
        chunk([{"type": "reasoning", "reasoning": "Hm."}]),
    ],
)
def test_reasoning_is_apart_from_the_text(thinking: list[JSON]) -> None:
    """Each way in which models give reasoning is one Reasoning event, and no text."""
    decoder = Decoder()
    assert decoded(decoder, ("messages", thinking)) == [Reasoning("Hm.", "m1", "model")]
    assert decoder.answer.text == ""


def test_text_blocks_are_text() -> None:
    """Content in blocks, as the Responses API gives it, is the same text."""
    blocks = [{"type": "text", "text": "It is", "index": 0}, {"type": "text", "text": " 42."}]
    assert decoded(Decoder(), ("messages", chunk(blocks))) == [Token("It is 42.", "m1", "model")]


@pytest.mark.parametrize(("sent", "status"), [("success", "ok"), ("error", "error"), (None, "ok")])
def test_a_tools_message_is_its_result(sent: str | None, status: str) -> None:
    """The result names its call and tool, and says whether it went well."""
    message = {"type": "tool", "tool_call_id": "c1", "name": "t", "content": "42", "status": sent}
    (event,) = decoded(Decoder(), ("messages", [message, META]))
    assert event == ToolResult("c1", "t", status, "42")  # type: ignore[arg-type]


def test_a_results_media_are_beside_its_text() -> None:
    """Pictures and files come as the blocks that they are; other blocks are no media."""
    image = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    content = [{"type": "text", "text": "Here:"}, image, "plain", {"type": "json", "json": {}}]
    message = {"type": "tool", "tool_call_id": "c1", "name": "t", "content": content}
    (event,) = decoded(Decoder(), ("messages", [message, META]))
    assert event == ToolResult("c1", "t", "ok", "Here:plain", [image])


def test_a_message_that_no_model_streamed_is_one_token() -> None:
    """A node that writes a whole message is shown too, once."""
    whole = {"type": "ai", "id": "m2", "content": "By hand.", "tool_calls": []}
    decoder = Decoder()
    assert decoded(decoder, ("messages", [whole, META]), ("messages", [whole, META])) == [
        Token("By hand.", "m2", "model")
    ]
    assert decoder.answer.text == "By hand."


def test_a_whole_message_after_its_pieces_is_not_told_again() -> None:
    """The complete message replaces its pieces in the answer, without another token."""
    decoder = Decoder()
    decoded(decoder, *ANSWER)
    whole = {"type": "ai", "id": "m1", "content": "It is 42.", "tool_calls": []}
    assert decoded(decoder, ("messages", [whole, META])) == []
    assert decoder.answer.text == "It is 42."


def test_a_persons_message_is_no_event() -> None:
    """The question, which comes back in the stream, is not part of the answer."""
    human = {"type": "human", "id": "h1", "content": "Hello?"}
    assert decoded(Decoder(), ("messages", [human, META])) == []


AI = {
    "type": "ai",
    "id": "m1",
    "content": "Let me see.",
    "tool_calls": [{"id": "c1", "name": "t", "args": {"a": 1}, "type": "tool_call"}],
}


def test_updates_are_told_by_node() -> None:
    """Each node's change is an Update; an interrupt's mark is none, it is asked for at the end."""
    decoder = Decoder()
    delta = {"messages": [AI]}
    assert decoded(decoder, ("updates", {"model": delta}), ("updates", {"__interrupt__": []})) == [
        Update("model", delta)
    ]
    assert decoder.answer.text == "Let me see."
    assert decoder.answer.tool_calls == [{"id": "c1", "name": "t", "args": {"a": 1}}]


@pytest.mark.parametrize("delta", [None, {}, {"messages": None}, {"other": 1}, {"messages": [1]}])
def test_an_update_without_messages_is_still_an_update(delta: Any) -> None:
    """A node may change nothing, or something else."""
    assert decoded(Decoder(), ("updates", {"node": delta})) == [Update("node", delta)]


def test_values_count_only_what_the_run_added() -> None:
    """The first state holds the thread's past, which is not this run's answer."""
    past = {"type": "ai", "id": "m0", "content": "Long ago.", "tool_calls": []}
    decoder = Decoder()
    states = [{"messages": [past]}, {"messages": [past, AI]}]
    assert decoded(decoder, *(("values", s) for s in states)) == [Values(s) for s in states]
    assert decoder.answer.text == "Let me see."
    assert len(decoder.answer.tool_calls) == 1


def test_langchain_events_pass_with_their_name_and_place() -> None:
    """An event keeps its kind, what it happened in, data, tags and metadata."""
    data = {
        "event": "on_chat_model_stream",
        "name": "ChatModel",
        "run_id": "x",
        "data": {"chunk": {"type": "AIMessageChunk", "id": "m1", "content": "Hi"}},
        "tags": ["a"],
        "metadata": {"k": 1},
    }
    decoder = Decoder()
    assert decoded(decoder, ("events", data)) == [
        Event("on_chat_model_stream", "ChatModel", data["data"], ["a"], {"k": 1})  # type: ignore[arg-type]
    ]
    assert decoder.answer.text == "Hi"


def test_custom_data_is_progress() -> None:
    """What a tool or node writes of itself passes unchanged."""
    assert decoded(Decoder(), ("custom", {"done": 3})) == [Progress({"done": 3})]


def test_a_subgraphs_parts_are_decoded_alike() -> None:
    """The path behind the bar does not change what a part is."""
    decoder = Decoder()
    assert decoded(decoder, ("messages|tools:1|x:2", chunk("Hi"))) == [Token("Hi", "m1", "model")]


def test_an_inner_graphs_state_is_no_part_of_the_graphs_own() -> None:
    """`values` and `updates` with a path behind the bar are passed over, and their words too."""
    decoder, inner = Decoder(), {"messages": [{"type": "ai", "id": "m9", "content": "A draft."}]}
    assert decoded(decoder, ("values|draft:1", inner), ("updates|draft:1", {"model": inner})) == []
    assert decoder.answer.text == ""


@pytest.mark.parametrize("state", [1, "text", ["a", "b"], None])
def test_a_state_that_is_no_object_is_told(state: Any) -> None:
    """The state of a graph may be anything that JSON has."""
    assert decoded(Decoder(), ("values", state)) == [Values(state)]


@pytest.mark.parametrize("name", ["end", "lifecycle", "something-new"])
def test_unknown_parts_are_no_events(name: str) -> None:
    """What a newer server adds is passed over."""
    assert decoded(Decoder(), (name, {"any": "thing"}), (name, None)) == []


def test_steps_are_told_as_they_came() -> None:
    """What the modes of steps bring is kept whole, with the inner graph that it is about."""
    parts = [("debug", {"type": "task"}), ("checkpoints", {"next": []}), ("tasks|a:1", {"id": "t"})]
    assert decoded(Decoder(), *parts) == [
        Debug({"type": "task"}),
        Checkpoint({"next": []}),
        Task({"id": "t"}, "a:1"),
    ]


def test_an_error_part_is_raised() -> None:
    """The server's error is raised as its type, after what came before it."""
    decoder = Decoder()
    decoded(decoder, *ANSWER[:3])
    with pytest.raises(ModelFailed, match="try again"):
        decoded(decoder, ("error", {"error": "ModelError", "message": "It broke off: try again."}))
    assert decoder.answer.text == "It is"


@pytest.mark.parametrize("data", [{}, {"message": "x"}, {"error": "KeyError", "message": None}])
def test_an_error_part_without_words_is_raised_too(data: JSON) -> None:
    """However little an error says, it is not passed over."""
    with pytest.raises(RunFailed):
        decoded(Decoder(), ("error", data))


@pytest.mark.parametrize("name", ["UserInterrupt", "UserRollback"])
def test_a_cancelled_run_is_stopped_not_failed(name: str) -> None:
    """What the server raises in a run that someone cancelled is no error."""
    decoder = Decoder()
    assert decoded(decoder, ("error", {"error": name, "message": "x"})) == []
    assert decoder.stopped


def test_each_mode_has_its_name_on_the_wire() -> None:
    """`messages` asks for the tuples, which carry pieces and not the whole text each time."""
    modes: dict[Mode, str] = {
        "values": "values",
        "updates": "updates",
        "messages": "messages-tuple",
        "events": "events",
        "custom": "custom",
        "debug": "debug",
        "checkpoints": "checkpoints",
        "tasks": "tasks",
    }
    assert modes == WIRE_MODES
