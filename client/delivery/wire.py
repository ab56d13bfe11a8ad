"""One run's requests over HTTP: start its stream or join it, read its status, cancel it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import httpx
import orjson
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import CancelAction, RunStatus
from langgraph_sdk.sse import BytesLineDecoder

from ..errors import ConnectionLost, NotFound, StreamLost, from_status, translated
from ..events import JSON
from ..limits import Limits
from ..reconnect import Reconnect
from .expectation import metadata_of

MOST_RUNS = 1000
ACTIVE: tuple[RunStatus, ...] = ("pending", "running")
REQUEST_KEY = "steady_request"
LONGEST_PART_BYTES = 64 * 1024 * 1024
_SKIP, _SKIPPED = "Steady-Skip", "Steady-Skipped"
_OUTLINE_AFTER, _IS_OUTLINE = "Steady-Outline-After", "is_outline"
_END_CHECK, _TELLS_END = "Steady-End-Check", "Steady-Tells-End"
_END_STATE = "Steady-End-State"
_PARTS = "steady_parts"  # an extension: of a request whose response may give them, of the response
_HEADERS = {
    "Accept": "text/event-stream",
    "Accept-Encoding": "identity",
    "Cache-Control": "no-store",
    "Steady-Brief": "1",  # of each message what is read here, where the server can
}


@dataclass(frozen=True, slots=True)
class Part:
    """One server-sent event of a run: its name, its JSON as it came, its id if it has one."""

    name: str
    raw: bytes
    id: str | None

    @property
    def data(self) -> Any:
        """The JSON, parsed."""
        return orjson.loads(self.raw) if self.raw else None


Parts = AsyncGenerator[list[Part]]


@dataclass(frozen=True, slots=True)
class Head:
    """What a response says before its parts.

    Args:
        run_id: the run that the request created; None if the head does not name it.
        skipped: how many parts were left out, as the request asked.
        tells_end: whether the last of its parts is `end`, with the run's status and, of a run that
            was started so, mostly the thread's state. A response without it was cut.
    """

    run_id: str | None
    skipped: int
    tells_end: bool


class Wire:
    """The requests of runs on one server, and how long to wait for them.

    Every method raises ServerError: see `client.errors`.
    """

    def __init__(
        self, sdk: LangGraphClient, url: str, limits: Limits, reconnect: Reconnect
    ) -> None:
        self.sdk = sdk
        self.url = url
        self.limits = limits
        self.reconnect = reconnect
        self._http = sdk.http.client
        self._timeout = httpx.Timeout(
            limits.request_timeout_seconds,
            connect=limits.connect_seconds,
            read=limits.heartbeat_timeout_seconds,
        )

    def start(self, thread_id: str, body: JSON) -> AbstractAsyncContextManager[tuple[Head, Parts]]:
        """Creates a run. Yields what the head says, and the parts as they arrive.

        A server that tells the run's end may tell the thread's state with it.
        """
        path, headers = f"/threads/{thread_id}/runs/stream", {_END_STATE: "1"}
        return self._stream("POST", path, headers, body)

    def join(
        self,
        thread_id: str,
        run_id: str,
        last_event_id: str,
        *,
        skip: str | None = None,
        is_end_check: bool = False,
    ) -> AbstractAsyncContextManager[tuple[Head, Parts]]:
        """Yields the run's parts after `last_event_id`: those that are stored, then new ones.

        `skip`, as `count/id`: so many parts of this id may be left out. `is_end_check`: the run
        has ended, and this makes sure of the rest. A server that counts the readers who come back
        after a cut leaves it out.
        """
        path = f"/threads/{thread_id}/runs/{run_id}/stream"
        headers = {"Last-Event-ID": last_event_id, **({_END_CHECK: "1"} if is_end_check else {})}
        if skip:
            headers[_SKIP] = skip
        return self._stream("GET", path, headers)

    @asynccontextmanager
    async def watch(self, thread_id: str) -> AsyncIterator[Parts]:
        """Yields the parts that tell of the beginnings and ends of the thread's runs, from now."""
        path = f"/threads/{thread_id}/stream?stream_modes=lifecycle"
        async with self._stream("GET", path, {}) as (_, parts):
            yield parts

    async def run(self, thread_id: str, run_id: str) -> JSON:
        """The run: its `status`, `metadata`, `kwargs`. Raises NotFound."""
        with translated(self.url):
            return cast(JSON, await self.sdk.runs.get(thread_id, run_id))

    async def find(self, thread_id: str, idempotency_key: str) -> str | None:
        """The id of the run that a request with this key started; None if none of the last was."""
        try:
            with translated(self.url):
                runs = await self.sdk.runs.list(
                    thread_id, limit=MOST_RUNS, select=["run_id", "metadata"]
                )
        except NotFound:
            return None
        matching = (
            run["run_id"]
            for run in runs
            if metadata_of(cast(JSON, run)).get(REQUEST_KEY) == idempotency_key
        )
        return next(matching, None)

    async def is_last(self, thread_id: str, run_id: str) -> bool:
        """Whether this is the newest of the thread's runs."""
        with translated(self.url):
            runs = await self.sdk.runs.list(thread_id, limit=1, select=["run_id"])
        return [run["run_id"] for run in runs] == [run_id]

    async def state(
        self, thread_id: str, checkpoint_id: str | None = None, *, outline_after: str | None = None
    ) -> JSON:
        """The thread's state, by default the latest: `values`, `tasks`, `interrupts`.

        With `outline_after`, its outline from this message on, if the server gives outlines: each
        message with a digest in place of its text.
        """
        headers = {_OUTLINE_AFTER: quote(outline_after)} if outline_after else None
        path = f"/threads/{thread_id}/state" + (f"/{checkpoint_id}" if checkpoint_id else "")
        with translated(self.url):
            response = await self._http.get(path, headers=headers)
            await _check_status(response)
            state: JSON = orjson.loads(response.content)
        return state

    async def history(self, thread_id: str, limit: int) -> list[JSON]:
        """The thread's checkpoints, newest first, each with all its messages."""
        with translated(self.url):
            states = await self.sdk.threads.get_history(thread_id, limit=limit)
        return [cast(JSON, state) for state in states]

    async def cancel(self, thread_id: str, run_id: str, action: CancelAction = "interrupt") -> None:
        """Ends the run at the server, unless it has ended. Raises NotFound for an unknown run."""
        try:
            with translated(self.url):
                await self.sdk.runs.cancel(thread_id, run_id, action=action)
        except NotFound:
            await self.run(thread_id, run_id)

    async def end_runs(self, thread_id: str, action: CancelAction) -> int:
        """Cancels what runs on the thread, and returns how many runs it was when all have ended.

        The server lets a run start as soon as the one before it is told to end, not when it has
        ended: the end of the one's answer would come after the other's question, or not at all.
        """
        with translated(self.url):
            runs = [
                run["run_id"]
                for status in ACTIVE  # what waits first, so that it does not begin meanwhile
                for run in await self.sdk.runs.list(
                    thread_id, limit=MOST_RUNS, status=status, select=["run_id"]
                )
            ]
        for run_id in runs:
            with suppress(NotFound):  # it has ended meanwhile, and was rolled back
                await self.cancel(thread_id, run_id, action)
        await asyncio.gather(*(self._wait_for_end(thread_id, run_id) for run_id in runs))
        return len(runs)

    async def _wait_for_end(self, thread_id: str, run_id: str) -> None:
        with suppress(NotFound):
            async with self.join(thread_id, run_id, "-1") as (_, parts):
                async for _ in parts:
                    pass

    @asynccontextmanager
    async def _stream(
        self, method: str, path: str, headers: dict[str, str], body: JSON | None = None
    ) -> AsyncIterator[tuple[Head, Parts]]:
        options: dict[str, Any] = {} if body is None else {"json": body}
        options["extensions"] = {_PARTS: _SKIP not in headers}
        with translated(self.url):
            async with self._http.stream(
                method, path, headers={**_HEADERS, **headers}, timeout=self._timeout, **options
            ) as response:
                await _check(response)
                yield _head(response), read_parts(response)


def _head(response: httpx.Response) -> Head:
    location: str = response.headers.get("content-location", "")
    run_id = location.rstrip("/").rpartition("/")[2] or None
    skipped = int(response.headers.get(_SKIPPED, 0))
    return Head(run_id, skipped, _TELLS_END in response.headers)


async def _check_status(response: httpx.Response) -> None:
    if not response.is_success:
        body = (await response.aread()).decode(errors="replace")
        raise from_status(response.status_code, body, response.headers.get("retry-after"))


async def _check(response: httpx.Response) -> None:
    await _check_status(response)
    kind = response.headers.get("content-type", "")
    if not kind.startswith("text/event-stream"):
        raise ConnectionLost(
            f"The server answered with {kind or 'nothing'} where a stream belongs."
        )


async def read_parts(response: httpx.Response) -> Parts:
    """The parts, in lists as they arrive; a list may be empty: a heartbeat has no part.

    The SDK's own decoder is not used: it parses the JSON at once and drops its bytes. A server in
    this process may give lists of parts among the text.

    Raises:
        ConnectionLost: the response ended in the middle of a part.
        StreamLost: a part is longer than `LONGEST_PART_BYTES`.
    """
    lines = BytesLineDecoder()
    name, data, event_id, size_bytes = b"", list[bytes](), b"", 0
    async for received in response.extensions.get(_PARTS) or response.aiter_bytes():
        if isinstance(received, list):
            yield [Part(*part) for part in received]
            continue
        parts: list[Part] = []
        for line in map(bytes, lines.decode(received)):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                name = value
            elif field == b"data":
                data.append(value)
                size_bytes += len(value)
            elif field == b"id":
                event_id = value
            elif not line:
                if (raw := b"\n".join(data)) or name:
                    parts.append(Part(_text(name) or "message", raw, _text(event_id) or None))
                name, data, event_id, size_bytes = b"", [], b"", 0
        yield parts
        if size_bytes + len(lines.buffer) > LONGEST_PART_BYTES:
            raise StreamLost(f"The server sent more than {LONGEST_PART_BYTES} bytes in one event.")
    if name or data or event_id or lines.buffer:
        raise ConnectionLost("The response ended in the middle of an event.")


def is_outline(state: JSON) -> bool:
    """Whether this is the outline of a state."""
    return _IS_OUTLINE in state


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
