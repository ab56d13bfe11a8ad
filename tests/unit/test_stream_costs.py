"""Patches that make an event of a run cheaper: each does what the server's own code does."""

import asyncio
import importlib
import sys
import threading
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from agent.dev_server.stream_costs import (
    NO_SCOPE_PER_EVENT,
    NO_TASK_PER_RESPONSE,
    NO_TASKS_PER_EVENT,
    NO_THREAD_PER_EVENT,
    NO_UNSHOWN_METRICS,
)
from tests.unit.test_dev_patches import loadable  # noqa: F401 - a fixture

Wait = Callable[[Coroutine[Any, Any, Any], Any], Coroutine[Any, Any, Any]]


class Stopped(Exception):
    """What a run is ended with."""


@pytest.fixture(params=["the server's", "ours"])
def waits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Wait, Any]:
    """The function that waits for an event, and the kind of what ends the wait."""
    server = importlib.import_module("langgraph_api.asyncio")
    module = SimpleNamespace(wait_if_not_done=server.wait_if_not_done)
    if request.param == "ours":
        for loaded in list(sys.modules.values()):  # the patch reaches them, too
            if getattr(loaded, "wait_if_not_done", None) is server.wait_if_not_done:
                monkeypatch.setattr(loaded, "wait_if_not_done", server.wait_if_not_done)
        NO_TASKS_PER_EVENT.apply(module)
    return module.wait_if_not_done, server.ValueEvent()


async def test_an_event_is_had(waits: tuple[Wait, Any]) -> None:
    """Its value, or what it raises."""
    wait, done = waits

    async def failing() -> None:
        await asyncio.sleep(0)
        raise KeyError("a")

    assert await wait(asyncio.sleep(0, "a"), done) == "a"
    with pytest.raises(KeyError):
        await wait(failing(), done)
    assert not done._waiters


@pytest.mark.parametrize("is_early", [True, False])
async def test_a_run_is_ended_while_it_waits(waits: tuple[Wait, Any], is_early: bool) -> None:
    """With the exception that tells why, and the task that waited goes on."""
    (wait, done), cleaned = waits, list[str]()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("yes")

    async def run() -> str:
        with pytest.raises(Stopped):
            await wait(forever(), done)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return "went on"

    if is_early:
        done.set(Stopped())
    task = asyncio.create_task(run())
    for _ in range(5):
        await asyncio.sleep(0)
    done.set(Stopped())
    assert await asyncio.wait_for(task, 10) == "went on"
    assert cleaned in ([], ["yes"])


async def test_an_event_that_comes_with_the_end_is_kept(waits: tuple[Wait, Any]) -> None:
    """What swallows the end and has a value gives it; nothing of the end is left behind."""
    wait, done = waits

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "value"
        return ""

    async def run() -> str:
        value: str = await wait(stubborn(), done)
        await asyncio.sleep(0)
        return value

    task = asyncio.create_task(run())
    for _ in range(5):
        await asyncio.sleep(0)
    done.set(Stopped())
    assert await asyncio.wait_for(task, 10) == "value"


async def test_an_end_behind_an_event_strikes_the_next_wait(waits: tuple[Wait, Any]) -> None:
    """Never what the task does between two waits, where nothing tells why it is cancelled."""
    (wait, done), is_there = waits, asyncio.Event()

    async def run() -> str:
        assert await wait(is_there.wait(), done) is True
        for _ in range(5):
            await asyncio.sleep(0)
        with pytest.raises(Stopped):
            await wait(asyncio.Event().wait(), done)
        return "went on"

    task = asyncio.create_task(run())
    for _ in range(5):
        await asyncio.sleep(0)
    is_there.set()
    done.set(Stopped())
    assert await asyncio.wait_for(task, 10) == "went on"


async def test_who_waits_can_be_cancelled(waits: tuple[Wait, Any]) -> None:
    """A cancellation from outside stays one."""
    wait, done = waits
    task = asyncio.create_task(wait(asyncio.sleep(60), done))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not done._waiters


async def test_events_are_encoded_in_the_loops_thread() -> None:
    """The server's JSON is written where the event is; anything else still has its thread."""

    def json_dumpb(value: Any) -> tuple[Any, int]:
        return value, threading.get_ident()

    config = importlib.import_module("langgraph_api.utils.config")
    module = SimpleNamespace(run_in_executor=config.run_in_executor, json_dumpb=json_dumpb)
    assert (await module.run_in_executor(None, json_dumpb, 1))[1] != threading.get_ident()
    NO_THREAD_PER_EVENT.apply(module)
    assert await module.run_in_executor(None, json_dumpb, 1) == (1, threading.get_ident())
    assert await module.run_in_executor(None, threading.get_ident) != threading.get_ident()


@pytest.fixture
def middleware() -> Any:
    module = importlib.import_module("langgraph_api.middleware.private_network")
    kind = module.PrivateNetworkMiddleware
    copy = SimpleNamespace(PrivateNetworkMiddleware=type(kind.__name__, (kind,), {}))
    NO_TASK_PER_RESPONSE.apply(copy)
    return copy.PrivateNetworkMiddleware


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
async def test_preflight_requests_have_their_header(middleware: Any, method: str) -> None:
    """As the server's own middleware gives it; each piece goes out in the task that sends it."""
    tasks, sent = list[Any](), list[Message]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.current_task())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        tasks.append(asyncio.current_task())
        sent.append(message)

    await middleware(app)({"type": "http", "method": method}, None, send)
    has_header = (b"access-control-allow-private-network", b"true") in sent[0]["headers"]
    assert has_header == (method == "OPTIONS")
    assert len(set(tasks)) == 1


@pytest.mark.parametrize("is_exposed", [False, True])
def test_metrics_that_are_shown_are_measured(is_exposed: bool) -> None:
    """Those of the server's page always; its inner ones where something shows or sends them."""
    metrics = importlib.import_module("langgraph_api.metrics_otlp")
    config = SimpleNamespace(
        DATADOG_METRICS_ENABLED=False, EXPOSE_INTERNAL_METRICS_PROMETHEUS=is_exposed
    )
    kind = metrics.OTelMetricsReporter
    copy = SimpleNamespace(config=config, OTelMetricsReporter=type("Reporter", (kind,), {}))
    NO_UNSHOWN_METRICS.apply(copy)
    reporter = copy.OTelMetricsReporter()
    reporter._enabled, reporter._meter = True, object()
    assert reporter._should_emit(metrics.LATENCY_HTTP_REQUEST)
    assert reporter._should_emit(metrics.LATENCY_STREAM_PUBLISH) is is_exposed
    reporter._enabled = False
    assert not reporter._should_emit(metrics.LATENCY_HTTP_REQUEST)


@pytest.mark.parametrize("limit_seconds", [None, 0.01])
async def test_a_time_limit_of_an_event_holds(
    monkeypatch: pytest.MonkeyPatch, limit_seconds: float | None
) -> None:
    """Where there is one; where there is none, a slow reader is waited for."""
    sse = importlib.import_module("langgraph_api.sse")
    monkeypatch.setattr(sse, "anyio", sse.anyio)
    NO_SCOPE_PER_EVENT.apply(sse)
    sent = list[bytes]()

    async def events() -> Any:
        yield b"one"

    async def send(message: Message) -> None:
        if message.get("body") == b"one":
            await asyncio.sleep(0.1 if limit_seconds is None else 60)
        sent.append(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    response = sse.EventSourceResponse(events())
    response.send_timeout = limit_seconds
    if limit_seconds is None:
        await response({"type": "http"}, receive, send)
        assert sent == [b"", b"one", b""]
    else:
        with pytest.raises(ExceptionGroup, match="unhandled errors") as raised:
            await response({"type": "http"}, receive, send)
        assert raised.group_contains(TimeoutError)
