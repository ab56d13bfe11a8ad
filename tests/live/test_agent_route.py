"""`/agent/stream`, `/agent/stop`, `/agent/decide`: runs on threads over server-sent events."""

import asyncio
import random
import uuid
from contextlib import suppress
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from client import AgentClient, to_json
from client.cli.local_server import LocalServer
from tests.faults.plan import NetFault, Plan
from tests.faults.proxy import Proxy
from tests.live.test_websocket import say, talking, turn
from tests.model_server import Fault, ModelServer, Reply, ToolCall
from tests.sse_reader import JSON, ask, ask_in_parts, opened, text_of

AGENT = "/agent/stream"
QUESTION = "What is 6 x 7, over SSE?"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
TEXT = " ".join(f"word{n}" for n in range(60))


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    call = ToolCall("calculate", {"expression": "6 * 7"})
    model.on(QUESTION, Reply("Let me see.", tool_calls=[call]), Reply("It is 42."))


def without_times(events: list[JSON]) -> list[JSON]:
    """The events, with tokens joined by message, and without what differs from run to run."""
    found: list[JSON] = []
    for event in events:
        told = {k: v for k, v in event.items() if not k.endswith("_ms")}
        last = found[-1] if found else {}
        if "node" in told and told.get("message_id", "") == last.get("message_id"):
            last["content"] += told["content"]
        else:
            found.append(told)
    return found


async def test_a_run_is_told_in_the_whole_vocabulary(server: LocalServer) -> None:
    """Tokens, the call as it is written, the call, its result, the answer, and done, in order."""
    events = await ask(server.url, AGENT, {"message": QUESTION})
    kinds = [event["type"] for event in without_times(events)]
    assert kinds == [
        *("run_started", "token", "tool_call_delta", "usage", "tool_call", "tool_result"),
        *("token", "usage", "done"),
    ]
    assert text_of(events) == "Let me see.It is 42."
    assert events[-1]["status"] == "success"


async def test_each_mode_has_its_events(server: LocalServer) -> None:
    """Any set of the four stream modes is one stream."""
    modes = ["values", "updates", "messages", "events"]
    events = await ask(server.url, AGENT, {"message": QUESTION, "modes": modes})
    assert {"values", "update", "token", "event"} <= {event["type"] for event in events}


async def test_the_events_are_the_clients(server: LocalServer, agent: AgentClient) -> None:
    """A joined run tells the same over the route as over the client."""
    events = await ask(server.url, AGENT, {"message": QUESTION})
    began = events[0]
    async with agent.runs.join(began["thread_id"], began["run_id"]) as run:
        told = [to_json(event) async for event in run]
    assert without_times(told) == without_times(events)


async def test_a_thread_goes_on(server: LocalServer, model: ModelServer) -> None:
    """The second message of a thread reaches the model with the first and its answer."""
    began = (await ask(server.url, AGENT, {"message": "I am Ada."}))[0]
    body = {"message": "Who am I?", "thread_id": began["thread_id"]}
    await ask(server.url, AGENT, body)
    said = [m["content"] for m in model.requests[-1]["messages"] if m["role"] != "system"]
    assert said == ["I am Ada.", "You said: I am Ada.", "Who am I?"]


@pytest.mark.parametrize("seed", range(5))
async def test_a_post_with_the_last_event_id_goes_on(server: LocalServer, seed: int) -> None:
    """A reader cut off after any event, who posts the same again, misses and repeats nothing."""
    body = {"message": "stream 60 tokens at 120 per second", "modes": ["messages", "updates"]}
    events = await ask_in_parts(server.url, AGENT, body, random.Random(seed))
    assert text_of(events) == TEXT
    kinds = [event["type"] for event in without_times(events)]
    nodes = [event["node"] for event in events if event["type"] == "update"]
    assert nodes == ["model"]
    assert kinds.count("run_started") == 1


async def test_a_run_is_joined_by_its_address(server: LocalServer) -> None:
    """GET with the ids streams a run from its beginning, or after an event."""
    async with opened(server.url, AGENT, {"message": QUESTION}) as stream:
        events = await stream.rest()
    address = f"{AGENT}/{events[0]['thread_id']}/{events[0]['run_id']}"
    async with opened(server.url, address) as again:
        assert without_times(await again.rest()) == without_times(events)
        first_id = again.last_event_id
    async with opened(server.url, address, headers={"Last-Event-ID": first_id}) as rest:
        assert [event["type"] for event in await rest.rest()] == ["done"]


async def test_the_same_key_starts_one_run(server: LocalServer, agent: AgentClient) -> None:
    """A request that is sent twice with one Idempotency-Key is one run, on one thread."""
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = await ask(server.url, AGENT, {"message": QUESTION}, headers)
    again = await ask(server.url, AGENT, {"message": QUESTION}, headers)
    assert without_times(again) == without_times(first)
    assert len(await agent.runs.list(first[0]["thread_id"])) == 1


async def test_the_same_key_at_the_same_time(server: LocalServer, agent: AgentClient) -> None:
    """Requests with one key that arrive together are one run too, and each reader has it all."""
    headers, body = {"Idempotency-Key": str(uuid.uuid4())}, {"message": QUESTION}
    told = await asyncio.gather(*(ask(server.url, AGENT, body, headers) for _ in range(5)))
    assert [without_times(events) for events in told[1:]] == 4 * [without_times(told[0])]
    assert len(await agent.runs.list(told[0][0]["thread_id"])) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_a_simple_reader_survives_a_bad_network(server: LocalServer, seed: int) -> None:
    """A loop that posts again with the last id gets each token once, through cuts of all kinds."""
    chance = random.Random(seed)
    kinds = ("rst", "fin", "end", "end_mid")
    faults = tuple(NetFault(chance.choice(kinds), chance.randint(1, 1200)) for _ in range(5))
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"message": "stream 60 tokens at 120 per second"}
    events, place = list[JSON](), ""
    async with Proxy(server.url, Plan(streams=faults, seed=seed)) as proxy:
        while not events or events[-1]["type"] != "done":
            more = {"Last-Event-ID": place} if place else {}
            with suppress(httpx.TransportError):
                async with opened(proxy.url, AGENT, body, {**headers, **more}) as stream:
                    async for event in stream:
                        if stream.last_event_id or event["type"] == "done":
                            events.append(event)
                        place = stream.last_event_id or place
    assert proxy.done
    assert text_of(events) == TEXT


REFUSED: dict[str, tuple[str, JSON, int, str]] = {
    "empty message": (AGENT, {"message": " "}, 422, "invalid_request"),
    "no thread id": (AGENT, {"message": "a", "thread_id": "../x"}, 422, "invalid_request"),
    "unknown thread": (AGENT, {"message": "a", "thread_id": UNKNOWN}, 404, "not_found"),
    "unknown mode": (AGENT, {"message": "a", "modes": ["words"]}, 422, "invalid_request"),
    "no mode": (AGENT, {"message": "a", "modes": []}, 422, "invalid_request"),
    "unknown assistant": (
        AGENT,
        {"message": "a", "assistant_id": "nobody"},
        422,
        "invalid_request",
    ),
    "stop of an unknown run": (
        "/agent/stop",
        {"thread_id": UNKNOWN, "run_id": UNKNOWN},
        404,
        "not_found",
    ),
    "decision without a thread": (
        "/agent/decide",
        {"thread_id": UNKNOWN, "interrupt_id": "i", "decisions": [{"type": "approve"}]},
        404,
        "not_found",
    ),
    "no decision": (
        "/agent/decide",
        {"thread_id": UNKNOWN, "interrupt_id": "i", "decisions": []},
        422,
        "invalid_request",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_done_is_refused(server: LocalServer, case: str) -> None:
    """Each has its HTTP status, a code, and one line for the person."""
    path, body, status, code = REFUSED[case]
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        answer = await http.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.json()["error"]


@pytest.mark.parametrize("path", ["stream", "regenerate", "continue_run", "decide"])
async def test_a_number_that_json_does_not_know(server: LocalServer, path: str) -> None:
    """Python's own JSON reads NaN and Infinity; they are refused wherever anything may stand."""
    bodies = {
        "stream": b'{"message": "a", "context": {"x": [NaN]}}',
        "decide": b'{"thread_id": "%s", "interrupt_id": "i", "decisions": [{"type": -Infinity}]}',
    }
    body = bodies.get(path, b'{"thread_id": "%s", "context": {"x": Infinity}}')
    headers = {"content-type": "application/json"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
        answer = await http.post(f"/agent/{path}", content=body.replace(b"%s", UNKNOWN.encode()))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    assert "NaN" in answer.json()["error"]


async def test_an_id_that_is_none_is_refused(server: LocalServer) -> None:
    """A Last-Event-ID that no stream gave is told so, and starts nothing."""
    async with opened(server.url, AGENT, {"message": "a"}, {"Last-Event-ID": "7"}) as stream:
        assert stream.response.status_code == 422
        assert "id" in stream.response.json()["error"]


async def test_a_busy_thread(server: LocalServer, model: ModelServer) -> None:
    """A second message on a busy thread is a conflict, unless it asks to wait for its turn."""
    async with opened(server.url, AGENT, {"message": "stream 40 tokens at 4 per second"}) as first:
        thread_id = (await anext(first))["thread_id"]
        body: dict[str, Any] = {"message": "Me too!", "thread_id": thread_id}
        async with opened(server.url, AGENT, body) as second:
            assert second.response.status_code == 409
        waiting = asyncio.create_task(
            ask(server.url, AGENT, {**body, "multitask_strategy": "enqueue"})
        )
        model.hurry()
        assert (await first.rest())[-1]["status"] == "success"
        assert text_of(await waiting) == "You said: Me too!"


@pytest.mark.usefixtures("quiet_model")
async def test_a_run_is_stopped(server: LocalServer, model: ModelServer) -> None:
    """The stop is accepted, the stream ends as stopped, and the model is left."""
    async with opened(server.url, AGENT, {"message": "stream 900 tokens at 30 per second"}) as run:
        began = await anext(run)
        while (await anext(run))["type"] != "token":
            pass
        place = {key: began[key] for key in ("thread_id", "run_id")}
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            assert (await http.post("/agent/stop", json=place)).status_code == 202
        assert (await run.rest())[-1]["status"] == "stopped"
    await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 0)


async def test_a_reader_that_leaves_does_not_stop_the_run(
    server: LocalServer, agent: AgentClient
) -> None:
    """The run goes on, and its whole answer is on the thread."""
    async with opened(server.url, AGENT, {"message": "stream 60 tokens at 120 per second"}) as run:
        began = await anext(run)
    async with agent.runs.join(began["thread_id"], began["run_id"]) as joined:
        assert await joined.text() == TEXT


async def test_a_reader_that_leaves_stops_the_run_if_it_asked_to(
    server: LocalServer, model: ModelServer
) -> None:
    """With `on_disconnect` cancel, nobody's answer is not written to its end."""
    before = model.disconnects
    body = {"message": "stream 900 tokens at 30 per second", "on_disconnect": "cancel"}
    async with opened(server.url, AGENT, body) as run:
        while (await anext(run))["type"] != "token":
            pass
    await asyncio.to_thread(model.wait_for, lambda m: m.disconnects > before)


async def test_a_tool_that_fails_is_a_result(server: LocalServer, model: ModelServer) -> None:
    """The model is told, and the run goes on."""
    call = ToolCall("calculate", {"expression": "1 / 0"})
    model.on("Divide.", Reply(tool_calls=[call]), Reply("It cannot be done."))
    events = await ask(server.url, AGENT, {"message": "Divide."})
    results = [event for event in events if event["type"] == "tool_result"]
    assert [result["status"] for result in results] == ["error"]
    assert text_of(events) == "It cannot be done."
    assert events[-1]["status"] == "success"


async def test_a_model_that_fails_is_told_in_band(server: LocalServer, model: ModelServer) -> None:
    """What arrived is delivered, then the error, then done."""
    model.on("Break off.", Reply(("a", "b", "c"), fault=Fault("disconnect", after_tokens=2)))
    events = await ask(server.url, AGENT, {"message": "Break off."})
    assert text_of(events) == "ab"
    assert [event["type"] for event in events[-2:]] == ["error", "done"]
    assert events[-2]["code"] == "model_failed"
    assert events[-1]["status"] == "error"


@pytest.mark.parametrize("surface", ["sse", "websocket", "plain"])
async def test_what_cannot_be_sent_is_told_in_band(
    server: LocalServer, model: ModelServer, surface: str
) -> None:
    """An answer with half of a surrogate pair ends like any other, on every surface."""
    question = f"Half of a pair, over {surface}."
    model.on(question, Reply(("a", "\ud83d", "b")))
    if surface == "sse":
        events = await ask(server.url, AGENT, {"message": question})
    elif surface == "websocket":
        async with talking(server) as socket:
            await say(socket, type="message", message=question)
            events = await turn(socket)
    else:
        async with connect(
            f"ws://127.0.0.1:{server.port}/ws/chat", proxy=None, open_timeout=60
        ) as plain:
            await plain.send(question)
            lines = [str(await plain.recv())]
            while lines[-1] != "[DONE]":
                lines.append(str(await plain.recv()))
        return
    assert events[-1]["type"] == "done"


async def test_a_failure_has_a_place_like_any_event(
    server: LocalServer, model: ModelServer
) -> None:
    """Each event of a run that fails has an id, and after it the failure is told again."""
    question = {"message": "Break off, with ids."}
    words = Reply(("a", "b", "c"), fault=Fault("disconnect", after_tokens=2))
    model.on(question["message"], words)
    async with opened(server.url, AGENT, question) as stream:
        lines = [line async for line in stream.response.aiter_lines()]
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    assert len(ids) == sum(line.startswith("data: ") for line in lines)
    again = await ask(server.url, AGENT, question, {"Last-Event-ID": ids[-1]})
    assert [event["type"] for event in again] == ["error", "done"]
    assert again[0]["code"] == "model_failed"
