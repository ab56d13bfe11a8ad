"""`/ws/chat`: many turns on one connection, in the plain form and in `steady.v1`."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from client import AgentClient
from client.cli.local_server import LocalServer
from tests import habits
from tests.model_server import Fault, ModelServer, Reply, ToolCall

JSON = dict[str, Any]
LONG = "stream 60 tokens at 120 per second"
SLOW = "stream 60 tokens at 4 per second"
TEXT = " ".join(f"word{n}" for n in range(60))
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@asynccontextmanager
async def talking(server: LocalServer, query: str = "") -> AsyncIterator[ClientConnection]:
    """A connection that speaks `steady.v1`."""
    address = f"ws://127.0.0.1:{server.port}/ws/chat{query}"
    async with connect(address, subprotocols=["steady.v1"], proxy=None, open_timeout=60) as socket:
        yield socket


async def say(socket: ClientConnection, **frame: Any) -> None:
    await socket.send(json.dumps(frame))


def say_at_once(socket: ClientConnection, *frames: JSON) -> None:
    """All in one write: the server reads them one right after the other."""
    for frame in frames:
        socket.protocol.send_text(json.dumps(frame).encode())
    socket.transport.write(b"".join(socket.protocol.data_to_send()))


async def heard(socket: ClientConnection) -> JSON:
    async with asyncio.timeout(60):
        event: JSON = json.loads(await socket.recv())
        return event


async def turn(socket: ClientConnection) -> list[JSON]:
    """What is heard until a turn's end."""
    events = [await heard(socket)]
    while events[-1]["type"] != "done":
        events.append(await heard(socket))
    return events


async def until(socket: ClientConnection, kind: str) -> JSON:
    while (event := await heard(socket))["type"] != kind:
        pass
    return event


def text_of(events: list[JSON]) -> str:
    return "".join(event["content"] for event in events if event["type"] == "token")


async def test_the_plain_form(server: LocalServer, model: ModelServer) -> None:
    """Text in, tokens out, [DONE]; the second turn is on the same thread."""
    async with connect(
        f"ws://127.0.0.1:{server.port}/ws/chat", proxy=None, open_timeout=60
    ) as socket:
        for question in ("I am Ada.", "stream 5 tokens at 4 per second"):
            await socket.send(question)
            said = [str(await socket.recv())]
            while said[-1] != "[DONE]":
                said.append(str(await socket.recv()))
        assert "".join(said[:-1]) == "word0 word1 word2 word3 word4"
        assert len(said) > 3
    told = [m["content"] for m in model.requests[-1]["messages"] if m["role"] != "system"]
    assert told == ["I am Ada.", "You said: I am Ada.", "stream 5 tokens at 4 per second"]


async def test_the_plain_form_tells_failures(server: LocalServer, model: ModelServer) -> None:
    """A failed turn ends like any other, and a token that looks like the end is none."""
    model.on("Say done.", Reply(("[DONE]",)))
    async with connect(
        f"ws://127.0.0.1:{server.port}/ws/chat", proxy=None, open_timeout=60
    ) as socket:
        await socket.send("fail 401")
        assert str(await socket.recv()).startswith("[ERROR] The model endpoint")
        assert await socket.recv() == "[DONE]"
        await socket.send("  ")
        assert str(await socket.recv()) == "[ERROR] The message is empty: say something."
        await socket.send("Say done.")
        assert [await socket.recv() for _ in range(3)] == ["[", "DONE]", "[DONE]"]


@pytest.mark.parametrize(
    ("reason", "words"),
    [("length", "cut at the model's limit"), ("content_filter", "by the model's content filter")],
)
async def test_the_plain_form_tells_that_an_answer_is_not_whole(
    server: LocalServer, model: ModelServer, reason: str, words: str
) -> None:
    """Before `[DONE]` a note says why; a text that looks like one is none."""
    question = f"Tell me of {reason}."
    raw = [*habits.text("[NOTE] so", " far"), habits.chunk({}, reason), habits.DONE]
    model.on(question, Reply(raw=raw))
    async with connect(
        f"ws://127.0.0.1:{server.port}/ws/chat", proxy=None, open_timeout=60
    ) as socket:
        await socket.send(question)
        lines = list[str]()
        while "[DONE]" not in lines:
            lines.append(str(await socket.recv()))
    assert "".join(lines[:-2]) == "[NOTE] so far"
    assert [line.startswith("[NOTE]") for line in lines] == [False] * (len(lines) - 2) + [
        True,
        False,
    ]
    assert words in lines[-2]


async def test_the_plain_form_tells_what_a_retry_takes_back(
    retrying: LocalServer, model: ModelServer
) -> None:
    """Whoever forgets the turn's text at `[RETRY]` has in the end what the thread has."""
    call = ToolCall("calculate", {"expression": "6 * 7"})
    breaks_off = Fault("disconnect", after_tokens=2)
    whole = Reply(("It", " is", " 42."), fails=[breaks_off])
    model.on("6 x 7, twice?", Reply("Hm. ", tool_calls=[call]), whole)
    lines = list[str]()
    async with connect(
        f"ws://127.0.0.1:{retrying.port}/ws/chat", proxy=None, open_timeout=60
    ) as socket:
        await socket.send("6 x 7, twice?")
        while "[DONE]" not in lines:
            lines.append(str(await socket.recv()))
        (at,) = [at for at, line in enumerate(lines) if line.startswith("[RETRY] The model")]
        assert "".join(lines[:at]).startswith("Hm. It")
        assert "".join(lines[at + 1 : -1]) == "Hm. It is 42."
        model.on("Say retry.", Reply(("[RETRY] it",)))
        await socket.send("Say retry.")
        assert [await socket.recv() for _ in range(3)] == ["[", "RETRY] it", "[DONE]"]


async def test_the_whole_vocabulary(server: LocalServer, model: ModelServer) -> None:
    """`steady.v1` tells the events of the other surfaces, each with its id."""
    call = ToolCall("calculate", {"expression": "6 * 7"})
    model.on("6 x 7 by socket?", Reply("Hm.", tool_calls=[call]), Reply("It is 42."))
    async with talking(server) as socket:
        assert socket.subprotocol == "steady.v1"
        await say(socket, type="message", message="6 x 7 by socket?", modes=["messages", "updates"])
        events = await turn(socket)
    kinds = {event["type"] for event in events}
    assert {"run_started", "token", "tool_call", "tool_result", "update", "done"} <= kinds
    assert text_of(events) == "Hm.It is 42."
    assert all(event["event_id"] for event in events)
    assert events[-1]["status"] == "success"


async def test_a_ping_is_answered_while_an_answer_runs(
    server: LocalServer, model: ModelServer
) -> None:
    """The connection listens while it speaks."""
    async with talking(server) as socket:
        await say(socket, type="message", message=SLOW)
        await until(socket, "token")
        await say(socket, type="ping")
        await until(socket, "pong")
        model.hurry()
        assert "token" in {event["type"] for event in await turn(socket)}


@pytest.mark.usefixtures("quiet_model")
async def test_stop_ends_the_answer(server: LocalServer, model: ModelServer) -> None:
    """The turn ends as stopped, the model is left, and the next turn is answered."""
    async with talking(server) as socket:
        await say(socket, type="message", message="stream 900 tokens at 30 per second")
        await until(socket, "token")
        await say(socket, type="stop")
        assert (await turn(socket))[-1]["status"] == "stopped"
        await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 0)
        await say(socket, type="stop")
        assert (await heard(socket))["code"] == "nothing_runs"
        await say(socket, type="message", message="Still there?")
        assert text_of(await turn(socket)) == "You said: Still there?"


async def test_a_stop_that_comes_first_still_stops(server: LocalServer) -> None:
    """A stop sent right behind the message ends its run, whenever the server has it."""
    async with talking(server) as socket:
        await say(socket, type="message", message="stream 900 tokens at 30 per second")
        await say(socket, type="stop")
        events = await turn(socket)
    assert events[-1]["status"] == "stopped"


async def test_messages_wait_for_their_turn(server: LocalServer) -> None:
    """What is sent while an answer runs is answered after it, in order."""
    async with talking(server) as socket:
        for message in (LONG, "Second.", "Third."):
            await say(socket, type="message", message=message)
        said = [text_of(await turn(socket)) for _ in range(3)]
    assert said == [TEXT, "You said: Second.", "You said: Third."]


async def test_a_message_may_interrupt(server: LocalServer) -> None:
    """The running answer is stopped, and the message that asked for it is answered next."""
    async with talking(server) as socket:
        await say(socket, type="message", message="stream 900 tokens at 30 per second")
        await say(socket, type="message", message="Later.")
        await until(socket, "token")
        await say(socket, type="message", message="Now!", multitask_strategy="interrupt")
        assert (await turn(socket))[-1]["status"] == "stopped"
        assert text_of(await turn(socket)) == "You said: Now!"
        assert text_of(await turn(socket)) == "You said: Later."


async def test_a_message_may_undo_the_one_before(server: LocalServer, agent: AgentClient) -> None:
    """With `rollback` the running turn ends, and the thread is as if it had never been asked."""
    async with talking(server) as socket:
        await say(socket, type="message", message="Hello.")
        thread_id = (await turn(socket))[0]["thread_id"]
        await say(socket, type="message", message="stream 900 tokens at 30 per second")
        await until(socket, "token")
        await say(socket, type="message", message="Now!", multitask_strategy="rollback")
        undone = await turn(socket)
        assert "error" not in [event["type"] for event in undone]
        assert undone[-1]["status"] == "stopped"
        assert text_of(await turn(socket)) == "You said: Now!"
    told = [message["content"] for message in await agent.threads.messages(thread_id)]
    assert told == ["Hello.", "You said: Hello.", "Now!", "You said: Now!"]


async def test_a_message_may_undo_one_that_has_not_begun(
    server: LocalServer, agent: AgentClient
) -> None:
    """A `rollback` sent right behind a message leaves nothing of it, whenever the server has it."""
    async with talking(server) as socket:
        await say(socket, type="message", message="Hello.")
        thread_id = (await turn(socket))[0]["thread_id"]
        await say(socket, type="message", message="stream 900 tokens at 30 per second")
        await say(socket, type="ping")
        await say(socket, type="message", message="Now!", multitask_strategy="rollback")
        turns = [await turn(socket)]
        while text_of(turns[-1]) != "You said: Now!":
            turns.append(await turn(socket))
    told = [message["content"] for message in await agent.threads.messages(thread_id)]
    assert told == ["Hello.", "You said: Hello.", "Now!", "You said: Now!"]


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
async def test_a_message_ends_the_one_that_arrives_with_it(
    server: LocalServer, agent: AgentClient, way: str
) -> None:
    """Where both are read before the first has begun, the first ends as if it had."""
    async with talking(server) as socket:
        await say(socket, type="message", message="Hello.")
        thread_id = (await turn(socket))[0]["thread_id"]
        say_at_once(
            socket,
            {"type": "message", "message": "stream 900 tokens at 30 per second"},
            {"type": "message", "message": "Now!", "multitask_strategy": way},
        )
        assert (await turn(socket))[-1]["status"] == "stopped"
        assert text_of(await turn(socket)) == "You said: Now!"
    told = [message["content"] for message in await agent.threads.messages(thread_id)]
    assert told[-2:] == ["Now!", "You said: Now!"]
    assert way == "interrupt" or "stream 900 tokens at 30 per second" not in told


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
async def test_a_stop_behind_it_stops_the_message_that_took_over(
    server: LocalServer, way: str
) -> None:
    """The old answer ends already: a stop that follows at once is for the new one."""
    async with talking(server) as socket:
        await say(socket, type="message", message="stream 900 tokens at 30 per second")
        await until(socket, "token")
        again = "stream 901 tokens at 30 per second"
        await say(socket, type="message", message=again, multitask_strategy=way)
        await say(socket, type="stop")
        assert [(await turn(socket))[-1]["status"] for _ in range(2)] == ["stopped", "stopped"]


async def test_a_message_may_not_want_to_wait(server: LocalServer, model: ModelServer) -> None:
    """With `reject`, a message on a busy connection is refused, and the answer goes on."""
    async with talking(server) as socket:
        await say(socket, type="message", message=SLOW)
        events = [await until(socket, "token")]
        await say(socket, type="message", message="Now!", multitask_strategy="reject")
        while events[-1]["type"] != "refused":
            events.append(await heard(socket))
        model.hurry()
        events += await turn(socket)
    assert [event["code"] for event in events if event["type"] == "refused"] == ["conflict"]
    assert text_of(events) == TEXT


REFUSED: dict[str, str | bytes] = {
    "no JSON": "hello",
    "no object": "[1]",
    "no type": '{"message": "a"}',
    "unknown type": '{"type": "shout"}',
    "empty message": '{"type": "message", "message": " "}',
    "unknown field": '{"type": "stop", "now": true}',
    "unknown mode": '{"type": "message", "message": "a", "modes": ["words"]}',
    "binary": b"\x00\xff",
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_bad_frame_is_refused(server: LocalServer, case: str) -> None:
    """A frame that does not fit is answered with one line, and the conversation goes on."""
    async with talking(server) as socket:
        await socket.send(REFUSED[case])
        refused = await heard(socket)
        assert (refused["type"], refused["code"]) == ("refused", "invalid_request")
        assert refused["message"]
        await say(socket, type="message", message="Hello?")
        assert text_of(await turn(socket)) == "You said: Hello?"


async def test_too_many_messages_are_refused(server: LocalServer) -> None:
    """Only so many turns may wait; the others are told so at once."""
    async with talking(server) as socket:
        await say(socket, type="message", message="stream 900 tokens at 30 per second")
        await until(socket, "token")
        for number in range(17):
            await say(socket, type="message", message=f"Message {number}.")
        assert (await until(socket, "refused"))["code"] == "rate_limited"


async def test_a_decision_without_a_thread(server: LocalServer) -> None:
    """A decision that belongs to nothing ends as a turn does, with the reason."""
    async with talking(server) as socket:
        await say(socket, type="decide", interrupt_id="i", decisions=[{"type": "approve"}])
        events = await turn(socket)
    assert [event["type"] for event in events] == ["error", "done"]
    assert events[0]["code"] == "not_found"


async def test_an_unknown_thread(server: LocalServer) -> None:
    """A thread that is not there is told with the first message."""
    async with talking(server, f"?thread_id={UNKNOWN}") as socket:
        await say(socket, type="message", message="Hello?")
        events = await turn(socket)
    assert events[0]["code"] == "not_found"


@pytest.mark.parametrize("seed", range(5))
async def test_a_new_connection_goes_on(server: LocalServer, seed: int) -> None:
    """Whoever comes back with thread and last event id misses and repeats nothing."""
    chance = random.Random(seed)
    events, query = list[JSON](), ""
    while not events or events[-1]["type"] != "done":
        async with talking(server, query) as socket:
            if not query:
                await say(socket, type="message", message=LONG)
            for _ in range(chance.randint(2, 6)):
                if not events or events[-1]["type"] != "done":
                    events.append(await heard(socket))
        thread_id = events[0]["thread_id"]
        query = f"?thread_id={thread_id}&last_event_id={events[-1].get('event_id', '')}"
    assert text_of(events) == TEXT
    async with talking(server, f"?thread_id={thread_id}") as socket:
        await say(socket, type="message", message="And now?")
        assert text_of(await turn(socket)) == "You said: And now?"


async def test_leaving_does_not_stop_the_run(server: LocalServer, agent: AgentClient) -> None:
    """The run goes on, and its whole answer is on the thread."""
    async with talking(server) as socket:
        await say(socket, type="message", message=LONG)
        began = await until(socket, "run_started")
    async with agent.runs.join(began["thread_id"], began["run_id"]) as run:
        assert await run.text() == TEXT


async def test_a_run_of_another_connection_is_read(server: LocalServer) -> None:
    """From its beginning, by its id; the connection then takes turns as any other."""
    async with talking(server) as first:
        await say(first, type="message", message=LONG)
        began = await until(first, "run_started")
        query = f"?thread_id={began['thread_id']}&run_id={began['run_id']}"
        async with talking(server, query) as second:
            assert text_of(await turn(second)) == TEXT
            await say(second, type="message", message="And now?")
            assert text_of(await turn(second)) == "You said: And now?"


async def test_two_connections_on_one_thread(server: LocalServer) -> None:
    """A message on a thread that another connection keeps busy waits for its turn."""
    async with talking(server) as first:
        await say(first, type="message", message=LONG)
        thread_id = (await until(first, "run_started"))["thread_id"]
        async with talking(server, f"?thread_id={thread_id}") as second:
            await say(second, type="message", message="Me too.")
            assert text_of(await turn(second)) == "You said: Me too."
        assert text_of(await turn(first)) == TEXT
