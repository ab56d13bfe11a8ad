"""The WebSocket's turns, where what is sent meets what is just ending."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, cast

import pytest
from starlette.websockets import WebSocket

from agent.http.runs import Chat
from agent.http.websocket import Conversation
from agent.http.websocket_forms import JsonForm
from agent.settings import settings
from client import Done, Run

JSON = dict[str, Any]


class Socket:
    """What the server reads and writes."""

    def __init__(self) -> None:
        self._frames = asyncio.Queue[JSON]()
        self.sent: list[JSON] = []
        self._changed = asyncio.Condition()

    def say(self, **frame: Any) -> None:
        self._frames.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    async def receive(self) -> JSON:
        return await self._frames.get()

    async def send_text(self, text: str) -> None:
        async with self._changed:
            self.sent.append(json.loads(text))
            self._changed.notify_all()

    async def until(self, kind: str, times: int = 1) -> None:
        def is_there() -> bool:
            return [event["type"] for event in self.sent].count(kind) >= times

        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(is_there)


class Answer:
    """A run that is done at once, and whose connection closes when the test lets it."""

    run_id = thread_id = "00000000-0000-4000-8000-000000000000"
    last_event_id = None

    def __init__(self, may_close: asyncio.Event) -> None:
        self._may_close = may_close
        self.stops: list[str] = []

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._may_close.wait()

    async def __aiter__(self) -> AsyncIterator[Done]:
        yield Done("success", self.run_id, None, 0)

    async def stop(self, action: str = "interrupt") -> None:
        self.stops.append(action)


class Runs:
    """Starts runs, and notes what they were asked."""

    def __init__(self) -> None:
        self.may_close = asyncio.Event()
        self.started: list[tuple[str, Answer]] = []

    def start(self, action: str, fields: JSON) -> Run:
        answer = Answer(self.may_close)
        self.started.append((fields["message"], answer))
        return cast(Run, answer)


@pytest.mark.parametrize("way", ["interrupt", "rollback"])
async def test_a_message_ends_the_one_before_though_that_has_not_begun(way: str) -> None:
    """An answer is over, and its connection not closed yet: the next messages keep their order."""
    socket, runs = Socket(), Runs()
    conversation = Conversation(cast(WebSocket, socket), cast(Chat, runs), JsonForm(), settings())
    serving = asyncio.create_task(conversation.serve(None, None))
    socket.say(type="message", message="One.")
    await socket.until("done")
    socket.say(type="message", message="Two.")
    socket.say(type="message", message="Three.", multitask_strategy=way)
    socket.say(type="stop")
    socket.say(type="ping")
    await socket.until("pong")  # all of them are read
    assert [message for message, _ in runs.started] == ["One."]
    runs.may_close.set()
    await socket.until("done", 3)
    assert [message for message, _ in runs.started] == ["One.", "Two.", "Three."]
    assert [answer.stops for _, answer in runs.started] == [[], [way], ["interrupt"]]
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
