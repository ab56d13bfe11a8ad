"""A run's messages, sent without what the client does not read."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from agent.http.brief_messages import BriefMessages
from agent.telemetry.streams import OWN_CALL

PATH = f"/threads/{'1' * 36}/runs/stream"
MESSAGE = {
    "type": "AIMessageChunk",
    "id": "m",
    "content": "\u00e9\n",
    "name": None,
    "tool_calls": [],
}
METADATA = {"langgraph_node": "model", "langgraph_checkpoint_ns": "a:1|model:2", "lc_source": "x"}
BRIEF = [{"type": "AIMessageChunk", "id": "m", "content": "\u00e9\n"}, METADATA]


def stream(data: object, end: str) -> bytes:
    """A stream with two messages that hold the data, among other parts."""
    pair = orjson.dumps(data).decode()
    lines = ["event: metadata", 'data: {"attempt":1,"name":null}', "id: 1-0", ""]
    lines += ["event: messages", f"data: {pair}", "id: 2-0", "", ": heartbeat", ""]
    lines += ["id: 3-0", "event: messages|tools:1", f"data: {pair}", ""]
    lines += [
        "event: messages",
        "id: 4-0",
        "data: [1]",
        "",
        "event: values",
        f"data: {pair}",
        "",
        "",
    ]
    return end.join(lines).encode()


async def sent(
    pieces: list[bytes], *headers: tuple[bytes, bytes], path: str = PATH, is_own: bool = False
) -> bytes:
    received = list[bytes]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def note(message: Message) -> None:
        received.append(message.get("body", b""))

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    scope = {"type": "http", "path": path, "headers": headers, OWN_CALL: is_own}
    await BriefMessages(app)(scope, nothing, note)
    return b"".join(received)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(cuts=st.lists(st.integers(0, 700), max_size=5))
async def test_a_message_is_brief_wherever_its_response_is_cut(end: str, cuts: list[int]) -> None:
    """Only messages change, and each the same way in however many pieces the response comes."""
    whole = stream([MESSAGE, {**METADATA, "thread_id": "t", "tags": []}], end)
    at = [0, *sorted(cuts), len(whole)]
    pieces = [whole[one:two] for one, two in pairwise(at)]
    told = await sent(pieces, (b"steady-brief", b"1"))
    values = orjson.dumps([MESSAGE, {**METADATA, "thread_id": "t", "tags": []}])
    head, mark, tail = told.partition(b"event: values")
    assert head + mark == stream(BRIEF, end).partition(b"event: values")[0] + mark
    assert values in tail


async def test_others_have_all_of_it() -> None:
    """Without the header, on other routes, and for the server itself, nothing changes."""
    whole = stream([MESSAGE, {**METADATA, "thread_id": "t"}], "\r\n")
    assert await sent([whole]) == whole
    assert await sent([whole], (b"steady-brief", b"1"), path="/threads") == whole
    assert await sent([whole], (b"steady-brief", b"1"), is_own=True) == whole
