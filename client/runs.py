"""The runs of a server's threads: list them, join their streams, cancel them."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from langgraph_sdk.schema import Run as ServerRun

from .decoding.decoder import PART_NAMES, WIRE_MODES
from .delivery.delivery import Delivery
from .delivery.expectation import Expectation
from .delivery.saved import saved_events
from .delivery.wire import ACTIVE, Wire
from .errors import NotFound, translated
from .events import JSON, AgentEvent
from .run import Run
from .state.branches import messages_of
from .threads import checked_id

RunList = list[ServerRun]  # in the class, `list` is its method
EventList = list[AgentEvent]
_MOST_CHECKPOINTS = 1000


class Runs:
    """The runs of a server's threads: `AgentClient.runs`.

    Every method raises NotFound for an unknown thread or run, InvalidRequest for an id that is not
    a UUID, and another ServerError where the server does not answer as it should: see the tree of
    errors.

    Args:
        wire: the server.
        resume: `AgentClient.resume`.

    Attributes:
        active: the statuses of a run that has not ended.
    """

    active = ACTIVE

    def __init__(self, wire: Wire, resume: Callable[..., Run]) -> None:
        self._wire = wire
        self._resume = resume

    async def list(self, thread_id: str, limit: int = 20) -> RunList:
        """The thread's runs, newest first: `run_id`, `status`, `created_at`, `metadata`...

        Args:
            thread_id: the thread.
            limit: the greatest number of runs. Default: 20.
        """
        with translated(self._wire.url, thread_id=thread_id):
            return await self._wire.sdk.runs.list(checked_id(thread_id), limit=limit)

    async def get(self, thread_id: str, run_id: str) -> ServerRun:
        """The run; its `status` is pending, running, success, error, timeout or interrupted.

        Args:
            thread_id: the thread.
            run_id: the run.
        """
        run = await self._wire.run(checked_id(thread_id), checked_id(run_id, "run id"))
        return cast(ServerRun, run)

    async def saved(self, thread_id: str, run_id: str) -> EventList:
        """The events of a run that has ended, as its thread keeps them: each message whole.

        For a run whose stream the server no longer has. A `retry`, `progress` and other modes'
        events are not kept. A failure is an `error` event, and so is a run that never ended.

        Args:
            thread_id: the thread.
            run_id: the run, which the server itself may have forgotten.

        Raises:
            NotFound: the thread keeps nothing of the run.
        """
        own: dict[str, Any] = {"metadata": {"run_id": checked_id(run_id, "run id")}}
        sdk = self._wire.sdk.threads
        with translated(self._wire.url, thread_id=thread_id, run_id=run_id):
            states = await sdk.get_history(checked_id(thread_id), limit=1, **own)
            if not states:
                raise NotFound("The thread keeps nothing of this run.")
            checkpoints = await sdk.get_history(
                thread_id, limit=_MOST_CHECKPOINTS, select=["parent_checkpoint"], **own
            )
            parent = checkpoints[-1]["parent_checkpoint"]
            before = dict(await sdk.get_state(thread_id, checkpoint=parent)) if parent else {}
        return saved_events(thread_id, run_id, dict(states[0]), messages_of(before))

    async def cancel(self, thread_id: str, run_id: str) -> None:
        """Ends the run at the server; one that has ended stays as it is.

        Args:
            thread_id: the thread.
            run_id: the run.
        """
        await self._wire.cancel(checked_id(thread_id), checked_id(run_id, "run id"))

    async def stop(self, thread_id: str) -> int:
        """Stops the thread's run and those that wait for it; their partial answers are kept.

        Args:
            thread_id: the thread.

        Returns:
            How many runs were stopped, when all of them have ended.
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
        """The stream of a run that was started elsewhere or earlier, while the server keeps it.

        Its modes are those that it was started with; `text()` is the whole answer, and `resume`
        goes on with the run's own assistant, modes and context. After a `last_event_id` only
        what was missed is sent; the texts that were read before are fetched from the thread by
        `text()`, `answer()` and `final_state()`. Before the end `tool_calls` has no earlier calls,
        nor has the error of a server that went away the `text` so far. Of a run whose events the
        server does not store (`stream_resumable` of the stock SDK), messages come whole at the end.

        Args:
            thread_id: the thread.
            run_id: the run.
            last_event_id: the event after which the stream begins: a `Run.last_event_id`, or an
                event id of the server's. None, the default: from the run's beginning.
            nodes: one node of the graph, or several: the only ones whose tokens and tool calls are
                streamed. None, the default: all but tools and middleware.

        Raises:
            InvalidRequest: an id is not a UUID. What else a run can raise comes when it is read.
        """
        delivery = Delivery(
            self._wire,
            checked_id(thread_id),
            PART_NAMES,
            run_id=checked_id(run_id, "run id"),
            was_read=last_event_id is not None,
        )

        def resume(thread_id: str, answers: JSON) -> Run:
            kwargs = delivery.run.get("kwargs") or {}
            names = Expectation.of_run(delivery.run).modes
            return self._resume(
                thread_id,
                answers,
                modes=[mode for mode, name in WIRE_MODES.items() if name in names] or ["messages"],
                assistant_id=delivery.run.get("assistant_id"),
                context=kwargs.get("context"),
            )

        limits = self._wire.limits
        return Run(delivery, limits, nodes=nodes, after=last_event_id, resume=resume)
