"""The client's pure parts and its public surface."""

import ast
import dataclasses
from pathlib import Path
from typing import get_args

import httpx
import pytest
from langgraph_sdk import errors as sdk

import client
from client import decode, errors, events

ROOT = Path(client.__file__).parents[1]
FIELDS = {
    "run_started": "run_id thread_id attempt",
    "token": "content message_id node",
    "reasoning": "content message_id node",
    "tool_call_delta": "id tool args_text",
    "tool_call": "id tool args node",
    "tool_result": "id tool status content",
    "progress": "data",
    "update": "node delta",
    "values": "state",
    "event": "name run_name data tags metadata",
    "interrupt": "id requests",
    "retry": "attempt message_id reason",
    "usage": "input_tokens output_tokens",
    "error": "code message retryable",
    "done": "status run_id ttft_ms duration_ms",
}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_events_have_the_vocabularys_names_and_fields() -> None:
    """As JSON each event has its type and exactly the fields of the vocabulary."""
    shown = {}
    for kind in get_args(events.AgentEvent):
        blanks = {field.name: None for field in dataclasses.fields(kind)}
        told = events.to_json(kind(**blanks))
        name = told.pop("type")
        shown[name] = " ".join(told)
    assert shown == FIELDS


def test_the_public_surface_is_what_it_says() -> None:
    """Every public name is there, all events and errors among them."""
    assert all(hasattr(client, name) for name in client.__all__)
    wanted = {kind.__name__ for kind in get_args(events.AgentEvent)}
    wanted |= {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.SteadyError)
    }
    assert wanted <= set(client.__all__)


def test_the_wire_is_the_contract() -> None:
    """The client never imports the agent, and in the agent only `chat.py` may import the client."""
    for path in (ROOT / "client").rglob("*.py"):
        assert "agent" not in _imports(path), path
    for path in (ROOT / "agent").rglob("*.py"):
        assert path.name == "chat.py" or "client" not in _imports(path), path


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.RejectedInput), (401, errors.Unauthorized), (403, errors.Refused),
        (404, errors.NotFound), (409, errors.Conflict), (413, errors.RejectedInput),
        (422, errors.RejectedInput), (429, errors.Refused), (500, errors.ServerGone),
        (503, errors.Refused),
    ],
)  # fmt: skip
def test_each_status_has_its_error(status: int, kind: type[errors.SteadyError]) -> None:
    """What the server answers becomes one typed error that carries the thread and the cause."""
    request = httpx.Request("GET", "http://server/threads")
    cause = sdk.APIStatusError("no", response=httpx.Response(status, request=request), body=None)
    with pytest.raises(kind) as caught, errors.translated("http://server", thread_id="t"):
        raise cause
    assert (caught.value.thread_id, caught.value.__cause__) == ("t", cause)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx.ConnectError("no"), errors.CannotConnect),
        (httpx.ReadError("cut"), errors.ServerGone),
        (httpx.UnsupportedProtocol("x"), errors.RejectedInput),
    ],
)
def test_each_transport_failure_has_its_error(
    cause: httpx.TransportError, kind: type[errors.SteadyError]
) -> None:
    """What breaks under HTTP is typed too, and names the server."""
    with pytest.raises(kind, match="http://server"), errors.translated("http://server"):
        raise cause


def _chunk(**fields: object) -> list[object]:
    return [{"type": "AIMessageChunk", "id": "m1", **fields}, {"langgraph_node": "model"}]


def test_a_tool_call_is_whole_when_its_message_is() -> None:
    """Argument pieces are deltas; the call comes once, when the message's last chunk has come."""
    decoder = decode.Decoder()
    pieces = [{"id": "c1", "name": "f", "args": "", "index": 0}, {"args": '{"a"', "index": 0}]
    told = [
        event
        for piece in [*pieces, {"args": ": 1}", "index": 0}]
        for event in decoder.decode("messages", _chunk(tool_call_chunks=[piece]))
    ]
    told += decoder.decode("messages", _chunk(chunk_position="last"))
    assert told == [
        events.ToolCallDelta("c1", "f", '{"a"'),
        events.ToolCallDelta("c1", "f", ": 1}"),
        events.ToolCall("c1", "f", {"a": 1}, "model"),
    ]


def test_state_before_the_run_is_not_its_answer() -> None:
    """In `values` mode only messages that came after the first state are the run's."""
    decoder = decode.Decoder()
    old = {"type": "ai", "id": "old", "content": "before"}
    list(decoder.decode("values", {"messages": [old]}))
    assert decoder.answer.text == ""
    new = {"type": "ai", "id": "new", "content": [{"type": "text", "text": "after"}]}
    list(decoder.decode("values", {"messages": [old, new]}))
    assert decoder.answer.text == "after"


def test_a_servers_error_is_never_text() -> None:
    """An `error` part is raised, typed by the exception that the graph raised."""
    with pytest.raises(errors.ModelFailed, match="check OPENAI_API_KEY"):
        list(
            decode.Decoder().decode(
                "error", {"error": "ModelError", "message": "check OPENAI_API_KEY"}
            )
        )
