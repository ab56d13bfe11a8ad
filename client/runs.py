"""The runs of a server's threads: list them, join their streams, cancel them."""

from collections.abc import Iterable
from typing import Any

from .decoding.decoder import PART_NAMES
from .delivery.delivery import Delivery
from .delivery.wire import Wire
from .errors import translated
from .events import JSON
from .limits import Limits
from .reconnect import Reconnect
from .run import Run
from .threads import checked_id

Found = list[Any]


class Runs:
    """The runs of a server's threads."""

    def __init__(self, wire: Wire, limits: Limits, reconnect: Reconnect) -> None:
        self._wire = wire
        self._limits = limits
        self._reconnect = reconnect

    async def list(self, thread_id: str, limit: int = 20) -> Found:
        """The thread's runs, newest first: `run_id`, `status`, `created_at`, `metadata`..."""
        with translated(self._wire.url, thread_id=thread_id):
            return await self._wire.sdk.runs.list(checked_id(thread_id), limit=limit)

    async def get(self, thread_id: str, run_id: str) -> JSON:
        """The run; its `status` is pending, running, success, error, timeout or interrupted."""
        return await self._wire.run(checked_id(thread_id), checked_id(run_id, "run"))

    async def cancel(self, thread_id: str, run_id: str) -> None:
        """Ends the run at the server."""
        await self._wire.cancel(checked_id(thread_id), checked_id(run_id, "run"))

    async def stop(self, thread_id: str) -> int:
        """Stops what runs on the thread, and what waits to; how many runs that was, at their end.

        What they had said stays in the thread.
        """
        with translated(self._wire.url, thread_id=thread_id):
            await self._wire.sdk.threads.get(checked_id(thread_id))
        return await self._wire.end_runs(thread_id, "interrupt")

    def join(
        self,
        thread_id: str,
        run_id: str,
        last_event_id: str | None = None,
        *,
        nodes: Iterable[str] | None = None,
    ) -> Run:
        """The stream of a run that was started elsewhere or earlier, as long as it is kept.

        From its beginning, or after `last_event_id`: a `Run.last_event_id`, or an id of the
        server's. Its modes are those that it was started with; `text()` is the whole answer.
        """
        delivery = Delivery(
            self._wire,
            self._limits,
            self._reconnect,
            checked_id(thread_id),
            PART_NAMES,
            run_id=checked_id(run_id, "run"),
            was_read=last_event_id is not None,
        )
        return Run(self._wire, delivery, nodes=nodes, after=last_event_id)
