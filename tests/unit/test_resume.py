"""Joining a run at any place of it: the rest is what an earlier reader would have had."""

import asyncio
import json
import math
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.http.brief_messages import BriefMessages
from agent.http.own_server import OwnServerTransport
from agent.http.skipped_parts import SkippedParts
from agent.http.state_outlines import StateOutlines
from client import (
    AgentClient,
    Done,
    Limits,
    Retry,
    Run,
    SteadyError,
    StreamLost,
    Token,
    ToolCallDelta,
)
from client.decoding.digest import digest_of
from client.decoding.snapshot import Known, Snapshot, Stage
from client.delivery.cursor import Cursor, Origin, id_before, id_order
from client.events import AgentEvent, Usage

JSON = dict[str, Any]
THREAD, RUN = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
QUESTION = {"type": "human", "id": "q", "content": "?"}
EARLIER = [{"type": "human", "id": "q0", "content": "Before?"}, {"type": "ai", "id": "a0"}]
METADATA = {"langgraph_node": "model"}
KEY = st.integers(0, 2**32 - 1)


def ai(message_id: str, text: str) -> JSON:
    return {"type": "ai", "id": message_id, "content": text}


@dataclass
class Recorded:
    """A run that has ended: its stored parts by their ids, and what it left in its thread."""

    parts: list[tuple[str, str, Any]] = field(default_factory=list)  # id, name, data
    messages: list[JSON] = field(default_factory=list)
    status: str = "success"

    def numbered(self) -> "Recorded":
        """The same with ids as Aegra gives them: each part has its own."""
        parts = [(f"{RUN}_event_{10**15 + n}", *rest) for n, (_, *rest) in enumerate(self.parts)]
        return Recorded(parts, self.messages, self.status)

    def after(self, event_id: str, *, is_ours: bool) -> list[tuple[str, str, Any]]:
        """The parts after this id; all of them for one that Aegra itself does not know."""
        if not self.parts or "_event_" not in self.parts[0][0]:
            return [part for part in self.parts if part[0] > event_id]
        ids = [part[0] for part in self.parts]
        if event_id in ids or not is_ours:
            return self.parts[ids.index(event_id) + 1 if event_id in ids else 0 :]
        number = id_order(event_id)[-1]
        return [part for part in self.parts if id_order(part[0])[-1] > number]


@st.composite
def recorded_runs(draw: st.DrawFn) -> Recorded:
    """Turns of the model, with tools, tries that break off, and workers that die."""
    run, at = Recorded(), 1_000_000_000_000

    def put(name: str, data: Any) -> None:
        nonlocal at
        at += draw(st.sampled_from([0, 0, 1, 40]))
        run.parts.append((f"{at}-0", name, data))

    def chunk(message_id: str, **fields: Any) -> None:
        message = {"type": "AIMessageChunk", "id": message_id, "content": "", **fields}
        put("messages", [message, METADATA])

    put("metadata", {"run_id": RUN, "attempt": 1})
    attempt, turns = 1, draw(st.integers(1, 4))
    for turn in range(turns):
        while trouble := draw(st.sampled_from(["", "", "retry", "death"])):
            broken = f"b{len(run.parts)}"
            for text in draw(st.lists(st.sampled_from(["x", "yy"]), max_size=3)):
                chunk(broken, content=text)
            attempt += 1
            if trouble == "death":
                put("metadata", {"run_id": RUN, "attempt": attempt})
            else:
                put("custom", {"type": "retry", "attempt": attempt, "message_id": broken,
                               "reason": "it broke"})  # fmt: skip
        texts = draw(st.lists(st.sampled_from(["a", "bb", " "]), max_size=6))
        calls = draw(st.integers(0, 2)) if turn < turns - 1 else 0
        message_id = f"m{turn}"
        for text in texts:
            chunk(message_id, content=text)
        for index in range(calls):
            call = {"index": index, "id": f"c{turn}{index}", "name": "add"}
            chunk(message_id, tool_call_chunks=[{**call, "args": '{"a":'}])
            chunk(message_id, tool_call_chunks=[{"index": index, "args": " 1}"}])
        reason = "tool_calls" if calls else "stop"
        usage = {"input_tokens": 3, "output_tokens": len(texts)}
        last = {"response_metadata": {"finish_reason": reason}, "usage_metadata": usage}
        chunk(message_id, **last, chunk_position="last")
        ids = [f"c{turn}{index}" for index in range(calls)]
        calls_made = [{"id": each, "name": "add", "args": {"a": 1}} for each in ids]
        whole = {**ai(message_id, "".join(texts)), "tool_calls": calls_made}
        run.messages.append(whole)
        if draw(st.booleans()):
            put("messages", [whole, METADATA])  # a node returned it once more
        for call_id in ids:
            result = {"type": "tool", "id": f"t{call_id}", "tool_call_id": call_id, "name": "add",
                      "content": "1", "status": "success"}  # fmt: skip
            put("messages", [result, {"langgraph_node": "tools"}])
            run.messages.append(result)
        if draw(st.booleans()):
            put("custom", {"step": turn})
    run.status = draw(st.sampled_from(["success", "success", "interrupted"]))
    if run.status == "success" and draw(st.integers(0, 4)) == 0:
        changed = draw(st.sampled_from(run.messages))  # by a node, after it was streamed
        changed["content"] += draw(st.sampled_from(["!", " more"]))
    return run


class Server:
    """An ASGI app that stores the run as the in-memory server does; `is_ours`: with our parts."""

    def __init__(self, run: Recorded, is_ours: bool = True, tells_end: bool = False) -> None:
        self._run, self._is_ours, self._tells_end = run, is_ours, tells_end
        app: ASGIApp = self._answer
        self.app = SkippedParts(BriefMessages(StateOutlines(app))) if is_ours else app
        self.sent_bytes = 0
        self.cuts: list[int] = []  # after so many parts the next streams end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_cut = bool(self.cuts) and scope["path"].endswith("/stream")
        left = self.cuts.pop(0) if is_cut else math.inf

        async def count(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.body" and (left := left - 1) < 0:
                message = {"type": "http.response.body"}
            self.sent_bytes += len(message.get("body", b""))
            await send(message)

        await self.app(scope, receive, count)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path.endswith(f"{RUN}/stream"):
            after = Headers(scope=scope)["last-event-id"]
            parts = self._run.after(after, is_ours=self._is_ours)
            body = (
                f"id: {at}\nevent: {name}\ndata: {json.dumps(data)}\n\n".encode()
                for at, name, data in parts
            )
            end = {"status": self._run.status} if self._tells_end else None
            await respond(send, "text/event-stream", [*body, b""], end)
        elif path.endswith(RUN):
            modes = ["messages-tuple", "custom"]
            kwargs = {"input": {"messages": [QUESTION]}, "stream_mode": modes}
            run = {"run_id": RUN, "status": self._run.status, "kwargs": kwargs}
            await respond(send, "application/json", [orjson.dumps(run)])
        else:
            await respond(send, "application/json", [orjson.dumps(self._state())])

    def _state(self) -> JSON:
        messages = [*EARLIER, QUESTION, *self._run.messages]
        return {
            "values": {"messages": messages, "more": "x" * 5000},
            "metadata": {"run_id": RUN},
            "checkpoint": {"checkpoint_id": "now"},
            "next": [],
            "tasks": [],
        }


async def respond(send: Send, kind: str, pieces: list[bytes], end: JSON | None = None) -> None:
    headers = [(b"content-type", kind.encode())]
    if end:
        headers.append((b"steady-tells-end", b"1"))
        pieces = [*pieces[:-1], b"event: end\ndata: %b\n\n" % orjson.dumps(end), b""]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number, piece in enumerate(pieces, 1):
        more = number < len(pieces)
        await send({"type": "http.response.body", "body": piece, "more_body": more})
        await asyncio.sleep(0)  # its reader gets each piece by itself


def client_of(server: Server) -> AgentClient:
    limits = Limits(idle_timeout_seconds=None, first_event_seconds=None)
    transport = OwnServerTransport(server)
    return AgentClient("http://127.0.0.1:1", token="", limits=limits, transport=transport)


async def read(run: Run) -> tuple[list[AgentEvent], list[str]]:
    """The events, and after each the cursor."""
    events, cursors = [], []
    async with run:
        async for event in run:
            events.append(event)
            cursors.append(str(run.last_event_id))
    return events, cursors


async def failure(run: Run) -> SteadyError:
    """What the run raises at its end."""
    with pytest.raises(SteadyError) as raised:
        await read(run)
    return raised.value


def alike(events: list[AgentEvent]) -> list[Any]:
    """The events without their times; neighbouring texts of one message are one."""
    merged = list[Any]()
    for event in events:
        if isinstance(event, Done):
            merged.append((event.status, event.finish_reason))
        elif isinstance(event, Token | ToolCallDelta) and merged:
            at = event.message_id if isinstance(event, Token) else event.id
            text = event.content if isinstance(event, Token) else event.args_text
            if isinstance(merged[-1], list) and merged[-1][:2] == [type(event), at]:
                merged[-1][2] += text
            else:
                merged.append([type(event), at, text])
        else:
            merged.append(event)
    return merged


@settings(max_examples=30, deadline=None)
@given(recorded_runs(), st.booleans(), st.booleans(), st.data())
def test_every_cursor_goes_on_where_it_stands(
    recorded: Recorded, is_ours: bool, has_numbers: bool, data: st.DataObject
) -> None:
    """From each event of a run, what follows is the rest, and text and calls are the whole's."""

    recorded = recorded.numbered() if has_numbers else recorded

    async def joined_everywhere() -> None:
        async with client_of(Server(recorded, is_ours)) as agent:
            whole = agent.runs.join(THREAD, RUN)
            events, cursors = await read(whole)
            for number, cursor in enumerate(cursors[:-1], 1):
                rest = agent.runs.join(THREAD, RUN, cursor)
                after, later = await read(rest)
                assert alike(after) == alike(events[number:])
                assert rest.tool_calls == whole.tool_calls
                assert await rest.text() == await whole.text()
                assert await rest.final_state() == await whole.final_state()
                if len(later) > 1:  # and once more, by the cursors of the second reader
                    at = data.draw(st.integers(0, len(later) - 2))
                    third, _ = await read(agent.runs.join(THREAD, RUN, later[at]))
                    assert alike(third) == alike(after[at + 1 :])

    asyncio.run(joined_everywhere())


def long_run(tokens: int) -> Recorded:
    """One answer in many parts."""
    message: JSON = {"type": "AIMessageChunk", "id": "m", "content": ""}
    last = {**message, "chunk_position": "last", "response_metadata": {"finish_reason": "stop"}}
    words = [f"word{n} " for n in range(tokens)]
    chunks = [*({**message, "content": word} for word in words), last]
    parts = [
        (f"{10**12 + 40 * n}-0", "messages", [each, METADATA]) for n, each in enumerate(chunks)
    ]
    return Recorded(parts, [{"type": "ai", "id": "m", "content": "".join(words)}])


@pytest.mark.parametrize("behind", [1, 2, 10])
async def test_a_resume_costs_what_was_missed(behind: int) -> None:
    """The parts before the cursor are not sent again, nor are the texts at the run's end."""
    server = Server(long_run(3000))
    async with client_of(server) as agent:
        _, cursors = await read(agent.runs.join(THREAD, RUN))
        server.sent_bytes = 0
        rest = agent.runs.join(THREAD, RUN, cursors[-behind])
        events, _ = await read(rest)
        assert len(events) == max(1, behind - 1)
        assert server.sent_bytes < 700 + 300 * behind
        assert rest.tool_calls == []
        assert (await rest.text()).endswith(" word2998 word2999 ")


async def test_joins_that_end_at_once_prove_nothing() -> None:
    """A run's text comes, however often a join ends before anything of it has come."""
    recorded = long_run(20)
    recorded.parts.insert(0, ("1-0", "metadata", {"run_id": RUN, "attempt": 1}))
    server = Server(recorded)
    server.cuts = [1, *[0] * 5]
    async with client_of(server) as agent:
        events, _ = await read(agent.runs.join(THREAD, RUN))
    text = "".join(event.content for event in events if isinstance(event, Token))
    assert text == recorded.messages[0]["content"]


async def test_a_stream_without_its_end_was_cut() -> None:
    """Where the server tells ends, no number of responses that end where the reader was is one."""
    recorded = long_run(20)
    recorded.parts.insert(0, ("1-0", "metadata", {"run_id": RUN, "attempt": 1}))
    server = Server(recorded, tells_end=True)
    server.cuts = [1] * 6
    async with client_of(server) as agent:
        events, _ = await read(agent.runs.join(THREAD, RUN))
    text = "".join(event.content for event in events if isinstance(event, Token))
    assert text == recorded.messages[0]["content"]


async def test_an_end_of_what_is_gone_proves_nothing() -> None:
    """A run of which the server has no part any more is lost, though its end is told."""
    recorded = long_run(20)
    recorded.parts.clear()
    async with client_of(Server(recorded, tells_end=True)) as agent:
        assert isinstance(await failure(agent.runs.join(THREAD, RUN)), StreamLost)


async def test_what_the_server_dropped_is_read_from_where_it_begins() -> None:
    """Where the part at the cursor is gone, the run is read from its beginning, and is short."""
    recorded = long_run(50)
    async with client_of(Server(recorded)) as agent:
        _, cursors = await read(agent.runs.join(THREAD, RUN))
    recorded.parts[:30] = []
    async with client_of(Server(recorded)) as agent:
        run = agent.runs.join(THREAD, RUN, cursors[10])
        events, _ = await read(run)
    *_, retry, token, _ = events
    assert isinstance(retry, Retry)
    assert isinstance(token, Token)
    assert token.content.startswith("word0 word1 ")


async def test_a_failure_has_the_text_so_far() -> None:
    """A run that failed raises its error after a join, too, with all of its text."""
    recorded = long_run(50)
    del recorded.parts[-1], recorded.messages[:]
    recorded.status = "error"
    async with client_of(Server(recorded)) as agent:
        whole = agent.runs.join(THREAD, RUN)
        first = await failure(whole)
        rest = agent.runs.join(THREAD, RUN, whole.last_event_id)
        again = await failure(rest)
    assert first.text.endswith("word49 ")
    assert (type(again), again.message, again.text) == (type(first), first.message, first.text)
    assert again.last_event_id == whole.last_event_id


async def test_another_snapshot_is_none() -> None:
    """A cursor whose snapshot is not understood begins the run anew, and skips what was read."""
    server = Server(long_run(20))
    async with client_of(server) as agent:
        events, cursors = await read(agent.runs.join(THREAD, RUN))
        cursor = Cursor.parse(cursors[7])
        assert cursor.origin is not None
        odd = Cursor(cursor.id, cursor.count, cursor.event, Origin(cursor.id, 0, "A"))
        after, _ = await read(agent.runs.join(THREAD, RUN, str(odd)))
    assert alike(after) == alike(events[8:])


@given(st.dictionaries(KEY, st.tuples(KEY, st.sampled_from(Stage)), max_size=12))
def test_a_snapshot_outlives_its_decoder(messages: dict[int, tuple[int, Stage]]) -> None:
    """Written and read again it is the same, in letters that no header or path changes."""
    known = {key: Known(*each) for key, each in messages.items()}
    snapshot = Snapshot(2, "stop", Usage(10, 20), known)
    text = snapshot.text()
    assert text is not None
    assert text.replace("-", "").replace("_", "").isalnum()
    assert Snapshot.parse(text) == snapshot
    assert Snapshot.parse(text + "*") is None


async def test_a_run_of_many_messages_begins_at_an_earlier_one() -> None:
    """A cursor stays short however many messages a run has, and any of them goes on."""
    recorded = Recorded()
    for turn in range(30):
        at = f"{10**12 + turn}-0"
        message = {"type": "AIMessageChunk", "id": f"m{turn}", "content": "x"}
        recorded.parts.append((at, "messages", [{**message, "chunk_position": "last"}, METADATA]))
        recorded.messages.append(ai(f"m{turn}", "x"))
    async with client_of(Server(recorded)) as agent:
        events, cursors = await read(agent.runs.join(THREAD, RUN))
        after, _ = await read(agent.runs.join(THREAD, RUN, cursors[-5]))
    assert max(map(len, cursors)) < 250
    assert alike(after) == alike(events[-4:])


@given(st.integers(1, 10**13), st.integers(0, 9))
def test_an_id_before_lies_between(at: int, sequence: int) -> None:
    """It is less than its id, and no id of the same form is between the two."""
    for event_id in (f"{at}-{sequence}", f"run_event_{at}"):
        before = id_before(event_id)
        assert before is not None
        assert id_order(before) < id_order(event_id)
    assert id_order(str(id_before(f"{at}-0"))) > (at - 1, 10**9)
    assert id_before("no number") is None


@given(st.lists(st.text()))
def test_a_digest_goes_on(pieces: list[str]) -> None:
    """The digest of pieces, one after another, is that of their text."""
    digest = 0
    for piece in pieces:
        digest = digest_of(piece, digest)
    assert digest == digest_of("".join(pieces))
