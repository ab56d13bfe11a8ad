"""A thread's runs, one after another, as one stream of events."""

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from .delivery.wire import ACTIVE, MOST_RUNS, Wire
from .errors import ConnectionLost, InvalidRequest, NotFound, RunError, SteadyError, translated
from .events import AgentEvent, RunStarted
from .reconnect import Backoff
from .run import Run

_WORKING_SECONDS = 1.0  # a connection that stood for so long was a working one


class ThreadStream:
    """Waits for the runs of a thread by the server's stream of it, and joins each.

    That stream alone would not do: ids of its events repeat, so that a cut loses some.

    Args:
        wire: the server.
        join: `Runs.join`.
    """

    def __init__(self, wire: Wire, join: Callable[..., Run]) -> None:
        self._wire = wire
        self._join = join

    async def events(
        self, thread_id: str, after_run_id: str | None, nodes: Iterable[str] | None
    ) -> AsyncGenerator[AgentEvent]:
        """See `Threads.join_stream`."""
        with translated(self._wire.url, thread_id=thread_id):
            await self._wire.sdk.threads.get(thread_id)
        seen = await self._runs_before(thread_id, after_run_id)
        backoff = Backoff(self._wire.reconnect)
        while True:
            opened_at = time.monotonic()
            try:
                run_ids = await self._next_runs(thread_id, seen)
            except SteadyError as error:
                if time.monotonic() - opened_at > _WORKING_SECONDS:
                    backoff.reset()
                limit_seconds = self._wire.limits.reconnect_seconds
                is_transient = self._wire.reconnect.is_transient(error)
                if is_transient and await backoff.wait(limit_seconds, error.retry_after_seconds):
                    continue
                raise
            backoff.reset()
            for run_id in run_ids:
                async with aclosing(self._of_run(thread_id, run_id, nodes)) as events:
                    async for event in events:
                        yield event
                seen.add(run_id)

    async def _of_run(
        self, thread_id: str, run_id: str, nodes: Iterable[str] | None
    ) -> AsyncGenerator[AgentEvent]:
        is_begun = False
        async with self._join(thread_id, run_id, nodes=nodes) as run:
            try:
                async for event in run:
                    if not is_begun and not isinstance(event, RunStarted):
                        yield RunStarted(run_id, thread_id, 1)  # the server did not store it
                    is_begun = True
                    yield event
            except NotFound:
                pass  # it was undone before anything of it was read
            except RunError as error:
                for event in run.failure(error):
                    yield event

    async def _next_runs(self, thread_id: str, seen: set[str]) -> list[str]:
        """The runs that are not among those seen, as soon as there are any, oldest first."""
        try:
            async with self._wire.watch(thread_id) as parts:
                if new := await self._unseen(thread_id, seen):
                    return new
                async for batch in parts:
                    told = {part.data.get("run_id") for part in batch if part.name == "metadata"}
                    # The server tells nothing of a run that was over before it looked: a heartbeat,
                    # which has no part, is the time to ask.
                    if (not batch or told - seen) and (new := await self._unseen(thread_id, seen)):
                        return new
        except NotFound as error:
            raise InvalidRequest(
                "This server has no streams of threads: `runs.list` says which runs a thread has, "
                "and `runs.join` streams each.",
                thread_id=thread_id,
            ) from error
        raise ConnectionLost("The server ended the thread's stream.", thread_id=thread_id)

    async def _unseen(self, thread_id: str, seen: set[str]) -> list[str]:
        return [run_id for run_id, _ in await self._runs(thread_id) if run_id not in seen]

    async def _runs_before(self, thread_id: str, after_run_id: str | None) -> set[str]:
        """The runs that are not to be told: those that have ended, or up to one."""
        runs = await self._runs(thread_id)
        ids = [run_id for run_id, _ in runs]
        if after_run_id is None:
            return {run_id for run_id, status in runs if status not in ACTIVE}
        if after_run_id not in ids:
            raise NotFound(f"The thread has no run {after_run_id!r}.", thread_id=thread_id)
        return set(ids[: ids.index(after_run_id) + 1])

    async def _runs(self, thread_id: str) -> list[tuple[str, str]]:
        """The ids and statuses of the thread's runs, oldest first."""
        with translated(self._wire.url, thread_id=thread_id):
            runs = await self._wire.sdk.runs.list(
                thread_id, limit=MOST_RUNS, select=["run_id", "status"]
            )
        return [(run["run_id"], run["status"]) for run in reversed(runs)]
