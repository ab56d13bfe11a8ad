"""What the OpenAPI document says of the chat routes, beside what they really answer."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import langgraph_api.validation
import pytest

from client.cli.local_server import LocalServer
from tests.model_server import Fault, ModelServer, Reply, ToolCall
from tests.sse_reader import ask
from tests.users import bearer, token_of

JSON = dict[str, Any]
STREAMS = ("/chat/stream", "/agent/stream", "/agent/decide", "/agent/resume", "/agent/regenerate")
NOBODY = "00000000-0000-4000-8000-000000000000"
KINDS = {
    *("run_started", "token", "reasoning", "tool_call_delta", "tool_call", "tool_result", "update"),
    *("values", "event", "interrupt", "usage", "error", "done"),
}
ALL_MODES = ["values", "updates", "messages", "events"]


@pytest.fixture(scope="module")
def document(server: LocalServer) -> JSON:
    found: JSON = httpx.get(f"{server.url}/openapi.json", trust_env=False, timeout=60).json()
    return found


def operation(document: JSON, path: str) -> JSON:
    (found,) = document["paths"][path].values()
    assert isinstance(found, dict)
    return found


def check(document: JSON, schema: JSON, value: object) -> None:
    """Fails unless the value fits the schema."""
    whole = {**schema, "components": document["components"]}
    jsonschema_rs.validator_for(whole).validate(value)


def check_answer(document: JSON, path: str, answer: httpx.Response) -> None:
    """Fails unless the document has this status of the route, with this body."""
    described = operation(document, path)["responses"][str(answer.status_code)]
    ((kind, content),) = described["content"].items()
    assert answer.headers["content-type"].startswith(kind)
    check(document, content["schema"], answer.json())


def event_schema(document: JSON, path: str) -> JSON:
    """The schema of a stream's events: of the JSON in the `data` of each."""
    item = operation(document, path)["responses"]["200"]["content"]["text/event-stream"]
    schema: JSON = item["itemSchema"]["properties"]["data"]["contentSchema"]
    return schema


REFUSED = [
    ("/agent/stream", 400, b"{"),
    ("/agent/stream", 422, b"{}"),
    ("/agent/stream", 422, b'{"message": "Hello.", "mode": ["messages"]}'),
    ("/agent/stream", 404, b'{"message": "Hello.", "thread_id": "%s"}' % NOBODY.encode()),
    ("/agent/stream", 422, b'{"message": "Hello.", "assistant_id": "nobody"}'),
    ("/agent/stream", 413, b'{"message": "Hello.", "x": "%s"}' % (b"x" * 5_000_000)),
    ("/agent/decide", 422, b'{"thread_id": "x"}'),
    ("/agent/regenerate", 404, b'{"thread_id": "%s"}' % NOBODY.encode()),
    ("/agent/continue_run", 404, b'{"thread_id": "%s"}' % NOBODY.encode()),
    ("/agent/stop", 404, b'{"thread_id": "%s", "run_id": "%s"}' % ((NOBODY.encode(),) * 2)),
    ("/agent/stop", 422, b"[]"),
    ("/chat/stream", 400, b"no JSON"),
    ("/chat/stream", 422, b'{"question": " "}'),
    ("/chat/stream", 422, b'{"question": "Hello.", "history": [{}]}'),
]


@pytest.mark.parametrize(("path", "status", "body"), REFUSED)
async def test_a_refusal_is_as_it_is_described(
    server: LocalServer, document: JSON, path: str, status: int, body: bytes
) -> None:
    """The status is among those of the route, and the body is of its form."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as http:
        headers = {"content-type": "application/json"}
        answer = await http.post(path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    check_answer(document, path, answer)


@pytest.mark.parametrize("path", STREAMS)
async def test_who_has_no_token_is_told_as_described(
    guarded: LocalServer, document: JSON, path: str
) -> None:
    """401, in the form that every other refusal has."""
    async with httpx.AsyncClient(base_url=guarded.url, trust_env=False, timeout=60) as http:
        answer = await http.post(path, json={})
        other = await http.post(path, json={}, headers={**bearer(token_of("ada")), "origin": "x:"})
    assert (answer.status_code, other.status_code) == (401, 403)
    check_answer(document, path, answer)
    check_answer(document, path, other)


async def test_a_model_that_fails_at_once_is_told_as_described(
    server: LocalServer, document: JSON, model: ModelServer
) -> None:
    """502, before the stream has begun."""
    model.on("Fail at once, please.", Reply("No.", fault=Fault("status", status=500)))
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60) as http:
        answer = await http.post("/chat/stream", json={"question": "Fail at once, please."})
    assert answer.status_code == 502
    check_answer(document, "/chat/stream", answer)


async def test_events_are_as_they_are_described(
    server: LocalServer, document: JSON, model: ModelServer
) -> None:
    """Each event of runs in all modes, with calls, an interrupt, failures, fits the union."""
    model.on(
        "Note it for the document.",
        Reply(tool_calls=(ToolCall("save_note", {"title": "a", "text": "b"}),)),
    )
    model.on(
        "Work it out for the document.",
        Reply(
            "I see.", reasoning="Hm.", tool_calls=(ToolCall("calculate", {"expression": "6 * 7"}),)
        ),
        Reply("It is 42."),
    )
    model.on("Fail for the document.", Reply("A start of it", fault=Fault("status", status=500)))
    events: list[JSON] = []
    for message in (
        "Note it for the document.",
        "Work it out for the document.",
        "Fail for the document.",
    ):
        events += await ask(server.url, "/agent/stream", {"message": message, "modes": ALL_MODES})
    for event in events:
        check(document, event_schema(document, "/agent/stream"), event)
    assert {event["type"] for event in events} >= KINDS


async def test_what_is_no_event_does_not_fit(document: JSON) -> None:
    """The description can tell a wrong event from a right one."""
    right = {"type": "token", "content": "x", "message_id": "m", "node": "model"}
    schema = event_schema(document, "/agent/stream")
    check(document, schema, right)
    for wrong in ({**right, "type": "tokens"}, {**right, "content": 1}, {"type": "token"}, {}):
        with pytest.raises(jsonschema_rs.ValidationError):
            check(document, schema, wrong)


async def test_the_chain_s_events_are_as_they_are_described(
    server: LocalServer, document: JSON
) -> None:
    """Tokens, then the end."""
    events = await ask(server.url, "/chat/stream", {"question": "Hello, document."})
    for event in events:
        check(document, event_schema(document, "/chat/stream"), event)
    assert events[-1] == {"done": True}


def test_no_schema_of_ours_hides_one_of_the_server_s(document: JSON) -> None:
    """The document is merged by name: the LangGraph API's own descriptions stay."""
    theirs = langgraph_api.validation.openapi["components"]["schemas"]
    changed = [
        name
        for name in theirs
        if shape(document["components"]["schemas"][name]) != shape(theirs[name])
    ]
    assert changed == []


def test_every_reference_leads_somewhere(document: JSON) -> None:
    """No `$ref` of the document names a schema that is not there."""
    names = {ref.rpartition("/")[2] for ref in references(document)}
    assert names - document["components"]["schemas"].keys() == set()


def shape(schema: JSON) -> list[str]:
    return sorted(schema.get("properties", schema))


def references(value: Any) -> Iterator[str]:
    text = json.dumps(value)
    yield from (piece.split('"')[0] for piece in text.split('"$ref": "')[1:])
