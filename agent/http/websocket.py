"""The WebSocket chat: many turns on one connection and one thread, full duplex."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal
from uuid import UUID

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from agent.http.runs import Chat, error_events, run_events, undo
from agent.http.schemas import (
    JSON,
    AnyFrame,
    MessageFrame,
    PingFrame,
    StopFrame,
    TurnFrame,
)
from agent.http.shutdown import open_stream, stopping
from agent.http.websocket_forms import PROTOCOL, Form, JsonForm, PlainForm
from agent.settings import Settings
from client import Conflict, InvalidRequest, NotFound, RateLimited, Run, SteadyError

GIVE_WAY = ("interrupt", "rollback")  # strategies of a message that ends the one before it
MOST_TURNS = 16  # that wait for their turn
_SERVICE_RESTART, _TRY_LATER = 1012, 1013  # close codes of the WebSocket registry
_CLOSE_SECONDS = 5.0
StartRun = Callable[[], Run]
_DISCONNECTS = (WebSocketDisconnect, WebSocketDisconnected)  # on reading, and on writing

log = structlog.stdlib.get_logger(__name__)


class NothingRuns(Conflict):
    """A stop where no answer is running that could be stopped."""

    code = "nothing_runs"


@dataclass
class Turn:
    """A turn that waits to begin; `ended_by` is what came meanwhile and ends it when it begins."""

    frame: TurnFrame
    ended_by: Literal["stop", "interrupt", "rollback"] | None = None


class Conversation:
    """One connection: it reads and writes at the same time."""

    def __init__(self, socket: WebSocket, chat: Chat, form: Form, config: Settings) -> None:
        self._socket = socket
        self._chat = chat
        self._form = form
        self._config = config
        self._thread_id: str | None = None
        self._turns: deque[Turn] = deque()
        self._arrived = asyncio.Event()
        self._run: Run | None = None
        self._gives_way = False
        self._is_undone = False

    async def serve(self, thread_id: str | None, join: StartRun | None) -> None:
        """Until the person leaves; first the events of a run to join, where one is given."""
        self._thread_id = thread_id
        tasks = [
            asyncio.create_task(self._answer_turns(join)),
            asyncio.create_task(self._read_frames()),
        ]
        with open_stream(lambda: self._run is not None or bool(self._turns)) as stream:
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if not stream.was_woken():
                    raise
            finally:
                run = self._run
                for task in tasks:
                    task.cancel()
                ends = await asyncio.gather(*tasks, return_exceptions=True)
            if stream.is_stopped:
                await self._say_farewell(run)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, _DISCONNECTS):
                raise end

    async def _say_farewell(self, run: Run | None) -> None:
        """The server stops: the turn ends in order, and so does the connection."""
        error = stopping()
        with suppress(*_DISCONNECTS):
            for event_id, event in error_events(error, run) if run else ():
                await self._send(event_id, event)
            await self._socket.close(_SERVICE_RESTART, error.message)

    async def _read_frames(self) -> None:
        while True:
            try:
                await self._handle(await self._next_frame())
            except SteadyError as error:
                refused = {"type": "refused", "code": error.code, "message": error.message}
                await self._send(None, refused)

    async def _next_frame(self) -> AnyFrame:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        text = message.get("text")
        if text is None:
            raise InvalidRequest("The frame is binary: send text.")
        return self._form.read(text)

    async def _handle(self, frame: AnyFrame) -> None:
        match frame:
            case PingFrame():
                await self._send(None, {"type": "pong"})
            case StopFrame():
                if self._run is None and not self._turns:
                    raise NothingRuns("No answer is running that could be stopped.")
                await self._stop()
            case MessageFrame(multitask_strategy="reject") if self._run is not None:
                raise Conflict("An answer is running: wait for its end, or stop it.")
            case _ if len(self._turns) >= MOST_TURNS:
                raise RateLimited(f"{MOST_TURNS} turns are waiting already.")
            case MessageFrame(multitask_strategy="interrupt" | "rollback" as strategy):
                turn = Turn(frame)
                if self._run is None and self._turns:  # its first is just about to begin
                    self._turns[0].ended_by = strategy
                    self._turns.insert(1, turn)
                else:
                    self._turns.appendleft(turn)
                    self._arrived.set()
                    await self._give_way(turn, strategy)
            case _:
                self._turns.append(Turn(frame))
                self._arrived.set()

    async def _stop(self) -> None:
        """Stops the run whose events are sent, or the turn that is about to begin."""
        if self._run is not None and not self._gives_way:
            await self._run.stop()
        elif turn := next((turn for turn in self._turns if turn.ended_by is None), None):
            turn.ended_by = "stop"

    async def _give_way(self, turn: Turn, strategy: str) -> None:
        """Ends the present run for the turn that comes next: it is stopped, or undone."""
        if self._run is None:
            return
        self._gives_way = True
        try:
            if strategy == "rollback":
                self._is_undone = True
                await undo(self._run)
            else:
                await self._run.stop()
        except SteadyError:
            if turn in self._turns:  # else it has begun, and needs nothing more
                self._turns.remove(turn)
                self._gives_way = self._is_undone = False
                raise

    async def _answer_turns(self, join: StartRun | None) -> None:
        if join:
            await self._answer(join)
        while True:
            while not self._turns:
                self._arrived.clear()
                await self._arrived.wait()
            turn = self._turns.popleft()
            await self._answer(partial(self._start, turn.frame), turn.ended_by)

    def _start(self, frame: TurnFrame) -> Run:
        if self._thread_id is None and not isinstance(frame, MessageFrame):
            raise NotFound("There is no thread yet: send a message.")
        fields = {"thread_id": self._thread_id, **frame.model_dump(exclude={"type"})}
        return self._chat.start(frame.action, fields)

    async def _answer(self, start: StartRun, ended_by: str | None = None) -> None:
        """One turn; what cannot be begun is told like any failure, and ends like any turn."""
        self._gives_way, self._is_undone = ended_by in GIVE_WAY, ended_by == "rollback"
        run = None
        try:
            run = self._run = start()
            if ended_by:
                await run.stop("rollback" if ended_by == "rollback" else "interrupt")
            async with aclosing(run_events(run)) as events:
                async for event_id, event in events:
                    self._thread_id = run.thread_id or self._thread_id
                    await self._send_of_turn(event_id, event)
        except SteadyError as error:
            for event_id, event in error_events(error, run):
                await self._send_of_turn(event_id, event)
        finally:
            self._run = None
            self._gives_way = self._is_undone = False

    async def _send_of_turn(self, event_id: str | None, event: JSON) -> None:
        """Sends an event of the turn's run; one that was rolled back is reported as stopped."""
        if event["type"] == "done":
            self._run = None  # whoever reads this has nothing left to stop
            if self._is_undone and event["status"] == "error":
                event = {**event, "status": "stopped"}
        if event["type"] != "error" or not self._is_undone:
            await self._send(event_id, event)

    async def _send(self, event_id: str | None, event: JSON) -> None:
        """Raises WebSocketDisconnect if the reader takes nothing for too long."""
        limit_seconds = self._config.steady_stalled_reader_seconds
        try:
            async with asyncio.timeout(limit_seconds):
                for text in self._form.write(event_id, event):
                    await self._socket.send_text(text)
        except TimeoutError:
            await log.ainfo(f"A reader that took nothing for {limit_seconds:g} s was let go.")
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._socket.close(_TRY_LATER, "You took nothing for too long.")
            raise WebSocketDisconnect(_TRY_LATER) from None


async def serve_conversation(
    socket: WebSocket, chat: Chat, config: Settings, thread_id: UUID | None, join: StartRun | None
) -> None:
    """Accepts the connection, in the form that it asks for, and serves it until its end."""
    speaks_json = PROTOCOL in socket.scope.get("subprotocols", ())
    await socket.accept(subprotocol=PROTOCOL if speaks_json else None)
    form: Form = JsonForm() if speaks_json else PlainForm()
    conversation = Conversation(socket, chat, form, config)
    await conversation.serve(str(thread_id) if thread_id else None, join)
