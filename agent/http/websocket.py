"""The WebSocket chat: many turns on one connection and one thread, full duplex.

Without a subprotocol it speaks the plain form: text in, tokens out, `[DONE]` after each turn. With
`steady.v1` it speaks JSON: the frames of `agent.http.schemas` in; out, the events of the one
vocabulary, each with its `event_id`, and `{"type": "refused", "code", "message"}` for a frame that
is not taken.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from itertools import chain
from typing import Protocol
from uuid import UUID

import orjson
import structlog
from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from agent.http.runs import Chat, ChatError, Run, begun, stop, undo
from agent.http.schemas import (
    FRAME,
    JSON,
    AgentMessage,
    AnyFrame,
    DecideFrame,
    Decision,
    MessageFrame,
    OnThread,
    PingFrame,
    RegenerateFrame,
    ResumeFrame,
    StopFrame,
    TurnFrame,
    first_fault,
)
from agent.settings import Settings

PROTOCOL = "steady.v1"
DONE, ERROR, RETRY = "[DONE]", "[ERROR]", "[RETRY]"
MOST_TURNS = 16  # that wait for their turn
_TRY_LATER = 1013  # a close code of the WebSocket registry
_CLOSE_SECONDS = 5.0
_LEFT = (WebSocketDisconnect, WebSocketDisconnected)  # heard, or found out when something is said

log = structlog.stdlib.get_logger(__name__)


class Refusal(Exception):
    """A frame that was not taken: its code, and one line for the person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.event: JSON = {"type": "refused", "code": code, "message": message}


class Voice(Protocol):
    """A form of the conversation: what a frame means, and how an event is said."""

    def read(self, text: str) -> AnyFrame:
        """The frame that the text is. Raises Refusal."""

    def say(self, event_id: str | None, event: JSON) -> list[str]:
        """The texts to send for the event."""


class PlainVoice:
    """Text in, tokens out, `[DONE]` after each turn; failures as `[ERROR] ...`.

    When the model is tried again, `[RETRY] ...` is said, and then what still holds of the turn's
    text: whoever forgets the text at that line has it right in the end.
    """

    def __init__(self) -> None:
        self._said: dict[str | None, list[str]] = {}  # in this turn, by message

    def read(self, text: str) -> AnyFrame:
        if not text.strip():
            raise Refusal("invalid_request", "The message is empty: say something.")
        return _parsed({"type": "message", "content": text})

    def say(self, event_id: str | None, event: JSON) -> list[str]:
        match event:
            case {"type": "token", "content": content, "message_id": message_id}:
                self._said.setdefault(message_id, []).append(content)
                return _as_text(content)
            case {"type": "retry", "message_id": message_id, "reason": reason}:
                if self._said.pop(message_id, None):
                    kept = "".join(chain.from_iterable(self._said.values()))
                    return [f"{RETRY} {reason}", *(_as_text(kept) if kept else ())]
            case {"type": "error" | "refused", "message": message}:
                return [f"{ERROR} {message}"]
            case {"type": "interrupt"}:
                return [f"{ERROR} A person has to decide before this goes on: use {PROTOCOL}."]
            case {"type": "done"}:
                self._said.clear()
                return [DONE]
        return []


def _as_text(content: str) -> list[str]:
    """Text that looks like one of the lines that are none is sent in two."""
    return [content[:1], content[1:]] if content.startswith((DONE, ERROR, RETRY)) else [content]


class JsonVoice:
    """The subprotocol `steady.v1`."""

    def read(self, text: str) -> AnyFrame:
        try:
            return _parsed(orjson.loads(text))
        except orjson.JSONDecodeError as error:
            raise Refusal("invalid_request", f"The frame is not JSON: {error}.") from error

    def say(self, event_id: str | None, event: JSON) -> list[str]:
        placed = {**event, "event_id": event_id} if event_id else event
        return [orjson.dumps(placed).decode()]


def _parsed(frame: object) -> AnyFrame:
    try:
        return FRAME.validate_python(frame)
    except ValidationError as error:
        raise Refusal("invalid_request", first_fault(error.errors())) from error


class Conversation:
    """One connection: it listens and speaks at the same time."""

    def __init__(self, socket: WebSocket, chat: Chat, voice: Voice, config: Settings) -> None:
        self._socket = socket
        self._chat = chat
        self._voice = voice
        self._config = config
        self._thread_id: UUID | None = None
        self._turns: deque[TurnFrame] = deque()
        self._arrived = asyncio.Event()
        self._run: Run | None = None
        self._is_to_stop = False
        self._gives_way = False
        self._is_undone = False

    async def hold(self, thread_id: UUID | None, last_event_id: str | None) -> None:
        """Until the person leaves; first what follows `last_event_id`, where it is given."""
        self._thread_id = thread_id
        tasks = [
            asyncio.create_task(self._speak(last_event_id)),
            asyncio.create_task(self._listen()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, _LEFT):
                raise end

    async def _listen(self) -> None:
        while True:
            try:
                await self._take(await self._heard())
            except Refusal as refusal:
                await self._say(None, refusal.event)
            except ChatError as error:
                await self._say(None, Refusal(error.code, error.message).event)

    async def _heard(self) -> AnyFrame:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text = message.get("text")
        if text is None:
            raise Refusal("invalid_request", "The frame is binary: send text.")
        return self._voice.read(text)

    async def _take(self, frame: AnyFrame) -> None:
        match frame:
            case PingFrame():
                await self._say(None, {"type": "pong"})
            case StopFrame():
                if self._run is None and not self._turns:
                    raise Refusal("nothing_runs", "No answer is running that could be stopped.")
                await self._stop()
            case MessageFrame(multitask_strategy="reject") if self._run is not None:
                raise Refusal("conflict", "An answer is running: wait for its end, or stop it.")
            case _ if len(self._turns) >= MOST_TURNS:
                raise Refusal("rate_limited", f"{MOST_TURNS} turns are waiting already.")
            case MessageFrame(multitask_strategy="interrupt" | "rollback"):
                self._turns.appendleft(frame)
                self._arrived.set()
                await self._give_way(frame)
            case MessageFrame() | DecideFrame() | RegenerateFrame() | ResumeFrame():
                self._turns.append(frame)
                self._arrived.set()

    async def _stop(self) -> None:
        """Stops the run that is told, or the turn that is about to begin."""
        if self._run is None or self._gives_way:
            self._is_to_stop = True
        else:
            await stop(self._run)

    async def _give_way(self, frame: MessageFrame) -> None:
        """Ends the run that is told, for the turn that comes next: stopped, or undone."""
        if self._run is None:
            return
        self._gives_way = True
        try:
            if frame.multitask_strategy == "rollback":
                self._is_undone = True
                await undo(self._run)
            else:
                await stop(self._run)
        except ChatError:
            if frame in self._turns:  # else it has begun, and needs nothing more
                self._turns.remove(frame)
                self._gives_way = self._is_undone = False
                raise

    async def _speak(self, last_event_id: str | None) -> None:
        if last_event_id:
            await self._tell(partial(self._chat.go_on, last_event_id))
        while True:
            while not self._turns:
                self._arrived.clear()
                await self._arrived.wait()
            await self._tell(partial(self._begin, self._turns.popleft()))

    def _begin(self, frame: TurnFrame) -> Run:
        if isinstance(frame, MessageFrame):
            fields = frame.model_dump(exclude={"type", "content", "key"})
            asked = AgentMessage(message=frame.content, thread_id=self._thread_id, **fields)
            return self._chat.start(asked, frame.key)
        if self._thread_id is None:
            raise ChatError(404, "not_found", "There is no thread yet: send a message.")
        fields = {"thread_id": self._thread_id, **frame.model_dump(exclude={"type", "key"})}
        if isinstance(frame, RegenerateFrame):
            return self._chat.regenerate(OnThread(**fields), frame.key)
        if isinstance(frame, ResumeFrame):
            return self._chat.resume(OnThread(**fields), frame.key)
        return self._chat.decide(Decision(**fields), frame.key)

    async def _tell(self, begin: Callable[[], Run]) -> None:
        """One turn; what could not be begun is told like any failure, and ends like any turn."""
        is_to_stop, self._is_to_stop = self._is_to_stop, False
        try:
            run = self._run = begin()
            if is_to_stop:
                await stop(run)
            async with aclosing(await begun(run)) as events:
                async for event_id, event in events:
                    self._thread_id = _uuid(run.thread_id) or self._thread_id
                    await self._say_of_turn(event_id, event)
        except ChatError as error:
            for event in error.events:
                await self._say_of_turn(None, event)
        finally:
            self._run = None
            self._gives_way = self._is_undone = False

    async def _say_of_turn(self, event_id: str | None, event: JSON) -> None:
        """A run that is undone is no more at the server: to its reader it was stopped."""
        if event["type"] == "done":
            self._run = None  # whoever hears this has nothing left to stop
            if self._is_undone and event["status"] == "error":
                event = {**event, "status": "stopped"}
        if event["type"] != "error" or not self._is_undone:
            await self._say(event_id, event)

    async def _say(self, event_id: str | None, event: JSON) -> None:
        """Raises WebSocketDisconnect if the reader takes nothing for too long."""
        limit_seconds = self._config.steady_stalled_reader_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                for text in self._voice.say(event_id, event):
                    await self._socket.send_text(text)
        except TimeoutError:
            await log.ainfo(f"A reader that took nothing for {limit_seconds:g} s was let go.")
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._socket.close(_TRY_LATER, "You took nothing for too long.")
            raise WebSocketDisconnect(_TRY_LATER) from None


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


async def converse(
    socket: WebSocket, chat: Chat, config: Settings, thread_id: UUID | None, after: str | None
) -> None:
    """Accepts the connection, in the form that it asks for, and talks until its end."""
    speaks_json = PROTOCOL in socket.scope.get("subprotocols", ())
    await socket.accept(subprotocol=PROTOCOL if speaks_json else None)
    voice: Voice = JsonVoice() if speaks_json else PlainVoice()
    await Conversation(socket, chat, voice, config).hold(thread_id, after)
