"""A person's decisions, each kind of them, over the surfaces that a browser has."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from client.cli.local_server import LocalServer
from tests.live.test_websocket import say, talking, turn
from tests.model_server import ModelServer, Reply, ToolCall
from tests.sse_reader import JSON, ask, text_of

Events = list[JSON]


@dataclass(frozen=True)
class Talk:
    """One thread: a message, and decisions about what it made wait, each told as events."""

    message: Callable[[str], Awaitable[Events]]
    decide: Callable[[str, list[JSON]], Awaitable[Events]]


@asynccontextmanager
async def over_sse(server: LocalServer) -> AsyncIterator[Talk]:
    """Two routes."""
    place: JSON = {}

    async def message(text: str) -> Events:
        events = await ask(server.url, "/agent/stream", {"message": text})
        place["thread_id"] = events[0]["thread_id"]
        return events

    async def decide(interrupt_id: str, decisions: list[JSON]) -> Events:
        body = {**place, "interrupt_id": interrupt_id, "decisions": decisions}
        return await ask(server.url, "/agent/decide", body)

    yield Talk(message, decide)


@asynccontextmanager
async def over_websocket(server: LocalServer) -> AsyncIterator[Talk]:
    """One connection."""
    async with talking(server) as socket:

        async def message(text: str) -> Events:
            await say(socket, type="message", message=text)
            return await turn(socket)

        async def decide(interrupt_id: str, decisions: list[JSON]) -> Events:
            await say(socket, type="decide", interrupt_id=interrupt_id, decisions=decisions)
            return await turn(socket)

        yield Talk(message, decide)


Surface = Callable[[LocalServer], AbstractAsyncContextManager[Talk]]


def edited(title: str, text: str) -> JSON:
    args = {"title": title, "text": text}
    return {"type": "edit", "edited_action": {"name": "save_note", "args": args}}


APPROVE: JSON = {"type": "approve"}
REJECT: JSON = {"type": "reject", "message": "Not this one."}
RESPOND: JSON = {"type": "respond", "message": "I wrote it down myself."}
MARK = uuid.uuid4().hex[:8]  # notes of another session are others
EDIT = edited(f"edited {MARK}", "Better.")
RESULTS: dict[str, tuple[str, str]] = {
    "approve": ("ok", "Saved as asked-{at}-"),
    "edit": ("ok", f"Saved as edited-{MARK}"),
    "reject": ("error", "Not this one."),
    "respond": ("ok", "I wrote it down myself."),
}
CASES: dict[str, list[JSON]] = {
    "edit": [EDIT],
    "reject": [REJECT],
    "respond": [RESPOND],
    "all of them": [RESPOND, APPROVE, REJECT, EDIT],
}


@pytest.mark.parametrize("surface", [over_sse, over_websocket], ids=["sse", "websocket"])
@pytest.mark.parametrize("case", CASES)
async def test_each_request_of_a_step_has_its_decision(
    server: LocalServer, model: ModelServer, surface: Surface, case: str
) -> None:
    """Each call ends as it was decided, the model hears so in order, and the answer follows."""
    decisions = CASES[case]
    question = f"{case}, {surface.__name__}, {MARK}"
    titles = [f"asked {at} {uuid.uuid4().hex[:8]}" for at in range(len(decisions))]
    calls = [ToolCall("save_note", {"title": title, "text": "Hi."}) for title in titles]
    model.on(question, Reply("I save.", tool_calls=calls), Reply("All done."))
    async with surface(server) as talk:
        waits = await talk.message(question)
        (interrupt,) = [event for event in waits if event["type"] == "interrupt"]
        assert waits[-1]["status"] == "interrupted"
        asked = [request["args"]["title"] for request in interrupt["requests"]["action_requests"]]
        assert asked == titles
        rest = await talk.decide(interrupt["id"], decisions)
    ids = [event["id"] for event in waits if event["type"] == "tool_call"]
    results = {event["id"]: event for event in rest if event["type"] == "tool_result"}
    assert text_of(rest) == "All done."
    assert rest[-1]["status"] == "success"
    assert set(results) == set(ids)
    told = [m for m in model.requests[-1]["messages"] if m["role"] == "tool"]
    for at, (call_id, decision) in enumerate(zip(ids, decisions, strict=True)):
        status, words = RESULTS[decision["type"]]
        assert results[call_id]["status"] == status
        assert words.format(at=at) in results[call_id]["content"]
        said = [m["content"] for m in told if m["tool_call_id"] == call_id]
        assert said == [results[call_id]["content"]]
