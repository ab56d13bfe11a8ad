"""What the server spends on each event of a run, and need not.

For each event it makes two tasks and a group of them, so that a run can be ended while it waits; it
has JSON written by another thread, which holds the interpreter's lock meanwhile all the same; and
a middleware for the preflight requests of browsers hands each piece of each response from one task
to another. It measures each event for metrics that nothing shows, and sets a time limit of no time.
"""

import asyncio
import functools
import sys
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, Self

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Scope, Send

from agent.dev_server.patch import Patch, Shape


class _Waiter:
    """Stands among an event's waiters like a future, which would cost a callback each time."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self.is_waiting, self.is_ended = True, False

    def done(self) -> bool:
        return False

    def set_result(self, value: Any) -> None:
        asyncio.get_running_loop().call_soon(self._end, value)

    def _end(self, value: Any) -> None:
        if self.is_waiting:  # else the next wait hears of the end
            self.is_ended = True
            self._task.cancel(value)


def _wait_in_this_task(server: Any) -> None:
    wait_in_tasks = server.wait_if_not_done

    @functools.wraps(wait_in_tasks)
    async def wait_if_not_done(coro: Coroutine[Any, Any, Any], done: Any) -> Any:
        """Ends the coroutine with a cancellation of the task that waits for it."""
        task = asyncio.current_task()
        if done.is_set() or task is None:
            return await wait_in_tasks(coro, done)
        waiter = _Waiter(task)
        done._waiters.append(waiter)
        try:
            return await coro
        except asyncio.CancelledError:
            if waiter.is_ended and isinstance(done._value, Exception) and task.cancelling() == 1:
                raise done._value from None
            raise
        finally:
            waiter.is_waiting = False
            done._waiters.remove(waiter)
            if waiter.is_ended:
                task.uncancel()

    for name, loaded in list(sys.modules.items()):  # those that have imported it already
        if name.startswith("langgraph_api") and (
            getattr(loaded, "wait_if_not_done", None) is wait_in_tasks
        ):
            loaded.wait_if_not_done = wait_if_not_done  # type: ignore[attr-defined]
    server.wait_if_not_done = wait_if_not_done


NO_TASKS_PER_EVENT = Patch(
    name="an event of a run needs no tasks of its own",
    module="langgraph_api.asyncio",
    replaces={
        "wait_if_not_done": Shape(
            "coro done",
            """
            async with asyncio.TaskGroup() as tg:
                coro_task = tg.create_task(coro)
                done_task = tg.create_task(done.wait())
            """,
        ),
        "ValueEvent.wait": Shape(
            "self",
            """
            self._waiters.append(fut)
            try:
                return await fut
            finally:
                self._waiters.remove(fut)
            """,
        ),
    },
    apply=_wait_in_this_task,
    loss="each event of a stream costs more",
)


def _encode_in_this_thread(stream: Any) -> None:
    run_in_executor = stream.run_in_executor

    @functools.wraps(run_in_executor)
    async def encode_here(executor: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is stream.json_dumpb:
            return function(*args, **kwargs)
        return await run_in_executor(executor, function, *args, **kwargs)

    stream.run_in_executor = encode_here


NO_THREAD_PER_EVENT = Patch(
    name="an event of a run needs no thread",
    module="langgraph_api.stream",
    replaces={
        "_consume_inline": Shape(
            "stream run_id resumable stream_modes thread_id reporter",
            "payload_bytes = await run_in_executor(None, json_dumpb, payload)",
        )
    },
    needs=("run_in_executor", "json_dumpb"),
    apply=_encode_in_this_thread,
    loss="each event of a stream costs more",
)


def _add_header_at_the_start(middleware: Any) -> None:
    async def call(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Access-Control-Allow-Private-Network"] = "true"
            await send(message)

        is_preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
        await self.app(scope, receive, send_with_header if is_preflight else send)

    middleware.PrivateNetworkMiddleware.__call__ = call


NO_TASK_PER_RESPONSE = Patch(
    name="a response's pieces go straight out",
    module="langgraph_api.middleware.private_network",
    replaces={
        "PrivateNetworkMiddleware.dispatch": Shape(
            "self request call_next",
            """
            if request.method == "OPTIONS":  # Handle preflight requests
                response.headers["Access-Control-Allow-Private-Network"] = "true"
            """,
        )
    },
    apply=_add_header_at_the_start,
    loss="each piece of each response costs more",
)


def _record_what_is_shown(metrics: Any) -> None:
    config, reporter = metrics.config, metrics.OTelMetricsReporter
    should_emit = reporter._should_emit

    @functools.wraps(should_emit)
    def should_emit_and_is_shown(self: Any, metric: Any) -> bool:
        is_shown = config.DATADOG_METRICS_ENABLED or config.EXPOSE_INTERNAL_METRICS_PROMETHEUS
        return bool((metric.lsd_web_metric or is_shown) and should_emit(self, metric))

    reporter._should_emit = should_emit_and_is_shown


NO_UNSHOWN_METRICS = Patch(
    name="metrics that nothing shows are not measured",
    module="langgraph_api.metrics_otlp",
    replaces={
        "OTelMetricsReporter._should_emit": Shape(
            "self metric", "return metric.lsd_web_metric or self._tier_enabled(metric.tier)"
        ),
        "_LSDPrometheusReader._receive_metrics": Shape(
            "self metrics_data timeout_millis kwargs",
            """
            if not config.EXPOSE_INTERNAL_METRICS_PROMETHEUS:
                metrics_data = _filter_web_metrics(metrics_data)
            """,
        ),
        "OTelMetricsReporter.initialize": Shape("self", "if config.DATADOG_METRICS_ENABLED:"),
    },
    needs=("config",),
    apply=_record_what_is_shown,
    loss="each event of a stream, and each run, costs more",
)


class _NoLimit:
    """What `anyio.move_on_after` gives, where there is no limit."""

    cancel_called = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def _limit_what_has_a_limit(sse: Any) -> None:
    within, no_limit = sse.anyio.move_on_after, _NoLimit()

    def move_on_after(seconds: float | None) -> Any:
        return no_limit if seconds is None else within(seconds)

    sse.anyio = SimpleNamespace(
        move_on_after=move_on_after, create_task_group=sse.anyio.create_task_group
    )


NO_SCOPE_PER_EVENT = Patch(
    name="an event that is sent without a time limit needs no scope",
    module="langgraph_api.sse",
    replaces={
        "EventSourceResponse.stream_response": Shape(
            "self send", "with anyio.move_on_after(self.send_timeout) as timeout:"
        ),
        "EventSourceResponse.__call__": Shape(
            "self scope receive send", "async with anyio.create_task_group() as task_group:"
        ),
    },
    needs=("anyio",),
    apply=_limit_what_has_a_limit,
    loss="each event of a stream costs more",
)
