"""One run's stream: start it or join it, iterate its events, ask for its result."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, cast

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import StreamPart

from client.decode import Decoder
from client.errors import RunFailed, RunTimedOut, SteadyError, StreamLost, translated
from client.events import JSON, AgentEvent, Done, Interrupt, Status

Parts = Callable[[], AsyncGenerator[StreamPart]]

_STATUS_WAITS_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


class Run:
    """A stream of one run's events, which ends with one `Done` or raises one SteadyError.

    An async context manager and an async iterator. Leaving it early closes the connection and
    lets the run go on at the server; `stop()` ends the run.
    """

    def __init__(self, sdk: LangGraphClient, url: str, thread_id: str | None, parts: Parts) -> None:
        self._sdk = sdk
        self._url = url
        self._parts = parts
        self._decoder = Decoder(thread_id)
        self._events: AsyncGenerator[AgentEvent] | None = None
        self._started = time.monotonic()
        self._ttft_ms: int | None = None
        self.done: Done | None = None
        self.last_event_id: str | None = None

    @property
    def thread_id(self) -> str | None:
        return self._decoder.thread_id

    @thread_id.setter
    def thread_id(self, value: str) -> None:
        self._decoder.thread_id = value

    @property
    def run_id(self) -> str | None:
        """None until the server accepted the run."""
        return self._decoder.run_id

    @property
    def tool_calls(self) -> list[JSON]:
        """The complete tool calls so far, as `{"id", "name", "args"}`."""
        return self._decoder.answer.tool_calls

    async def __aenter__(self) -> Self:
        self._started = time.monotonic()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._events is not None:
            await self._events.aclose()

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        if self._events is None:
            self._events = self._iterate()
        return self._events

    async def text(self) -> str:
        """The answer's text, once the run has ended. Raises what the stream raises."""
        if self.done is None:
            async for _ in self:
                pass
        return self._decoder.answer.text

    async def final_state(self) -> JSON:
        """The thread's state, once the run has ended."""
        await self.text()
        with translated(self._url):
            state = await self._sdk.threads.get_state(str(self.thread_id))
        return cast(JSON, state["values"])

    async def stop(self) -> None:
        """Cancels the run at the server; the stream then ends with status `stopped`."""
        if self.run_id and self.thread_id:
            with translated(self._url):
                await self._sdk.runs.cancel(self.thread_id, self.run_id)

    async def _iterate(self) -> AsyncGenerator[AgentEvent]:
        try:
            with translated(self._url):
                async with aclosing(self._parts()) as parts:
                    async for part in parts:
                        self.last_event_id = part.id or self.last_event_id
                        for event in self._decoder.decode(part.event, part.data):
                            self._note_first_text()
                            yield event
                async for event in self._ending():
                    yield event
        except SteadyError as error:
            self._locate(error)
            raise

    def _note_first_text(self) -> None:
        if self._ttft_ms is None and self._decoder.answer.text:
            self._ttft_ms = self.elapsed_ms

    @property
    def elapsed_ms(self) -> int:
        """Milliseconds since the stream was asked for."""
        return round((time.monotonic() - self._started) * 1000)

    async def _ending(self) -> AsyncIterator[AgentEvent]:
        """A response that ended is believed only after the run's status says so."""
        if self.run_id is None:
            raise StreamLost("The server closed the stream before it accepted the run: try again.")
        status: Status = "stopped" if self._decoder.stopped else await self._ended_status()
        if status == "success":
            interrupts = await self._interrupts()
            for interrupt in interrupts:
                yield interrupt
            status = "interrupted" if interrupts else status
        self.done = Done(status, self.run_id, self._ttft_ms, self.elapsed_ms)
        yield self.done

    async def _ended_status(self) -> Status:
        for wait_seconds in _STATUS_WAITS_SECONDS:
            await asyncio.sleep(wait_seconds)
            run = await self._sdk.runs.get(str(self.thread_id), str(self.run_id))
            match str(run["status"]):
                case "success":
                    return "success"
                case "interrupted":
                    return "stopped"
                case "timeout":
                    raise RunTimedOut("The run passed the server's time limit.")
                case "error":
                    raise RunFailed("The run failed at the server: see its log.")
        raise StreamLost(
            "The stream ended, but the run goes on at the server: join it again by its run_id."
        )

    async def _interrupts(self) -> list[Interrupt]:
        thread = await self._sdk.threads.get(str(self.thread_id))
        found: list[Any] = [
            i for waiting in (thread.get("interrupts") or {}).values() for i in waiting
        ]
        return [Interrupt(str(i.get("id")), i.get("value")) for i in found]

    def _locate(self, error: SteadyError) -> None:
        """Gives the error what is needed to go on from here."""
        error.run_id = error.run_id or self.run_id
        error.thread_id = error.thread_id or self.thread_id
        error.last_event_id = error.last_event_id or self.last_event_id
        error.text = error.text or self._decoder.answer.text
