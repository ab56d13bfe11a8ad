"""`steady doctor`: does this server keep what the client relies on? Each check is a measurement."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from rich.markup import escape
from rich.table import Table

from ..client import AgentClient
from ..errors import ModelFailed, SteadyError, Unauthorized, translated
from ..events import Done, Mode, RunStarted, Token
from ..run import Run
from .bench import delete_threads
from .output import out

QUESTION = "Reply with the single word: ready"
_PARALLEL = 4
_PROTOCOLS = {"OpenAI's": "/v1/models"}  # a route of each, that reads
_SILENCE_SECONDS = 8.0  # the LangGraph server sends a comment after 5 s of silence


@dataclass(frozen=True)
class Finding:
    """One check's outcome; `good` None means that it could not be told."""

    name: str
    good: bool | None
    told: str


Check = Callable[[AgentClient, str], Awaitable[Finding]]


async def examine(agent: AgentClient, assistant_id: str) -> int:
    """Runs every check and prints a table. 0: all good, 1: something is not."""
    reachable = await _reachable(agent, assistant_id)
    findings = [reachable]
    for check in _CHECKS:
        try:
            findings.append(await check(agent, assistant_id))
        except SteadyError as error:
            name = check.__name__.strip("_").replace("_", " ")
            if isinstance(error, ModelFailed) and check is not _model:
                findings.append(Finding(name, None, "it needs a model that answers"))
            else:
                findings.append(Finding(name, False, error.message))
    _print(agent.url, findings)
    return 1 if any(finding.good is False for finding in findings) else 0


def _print(url: str, findings: list[Finding]) -> None:
    table = Table(title=url, show_header=False, box=None, title_justify="left")
    marks = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]?[/]"}
    for finding in findings:
        table.add_row(marks[finding.good], finding.name, escape(finding.told))
    out.print(table)


async def _reachable(agent: AgentClient, assistant_id: str) -> Finding:
    started = time.monotonic()
    info = await agent.info()
    told = ", ".join(
        f"{key} {info[key]}" for key in ("version", "langgraph_py_version") if key in info
    )
    return Finding("reachable", True, f"in {(time.monotonic() - started) * 1000:.0f} ms; {told}")


async def _access(agent: AgentClient, assistant_id: str) -> Finding:
    try:
        async with AgentClient(agent.url, token="not-a-token") as stranger:  # noqa: S106
            await stranger.assistants()
    except Unauthorized:
        return Finding("auth", True, "a wrong token is refused")
    loopback = httpx.URL(agent.url).host in ("127.0.0.1", "localhost", "::1")
    told = "anyone who reaches it may use it"
    return Finding("auth", None if loopback else False, told)


async def _assistants(agent: AgentClient, assistant_id: str) -> Finding:
    names = sorted({str(found["graph_id"]) for found in await agent.assistants()})
    return Finding("assistants", assistant_id in names, ", ".join(names))


async def _model(agent: AgentClient, assistant_id: str) -> Finding:
    """The model's settings hold where it answers; else its failure names the one to change."""
    async with _run(agent, QUESTION, "messages", assistant_id) as run:
        answer = await run.text()
        first_ms = run.done.ttft_ms if run.done else None
    told = f"it answers, its first text after {first_ms} ms" if answer else "its answer is empty"
    return Finding("model", bool(answer), told)


@asynccontextmanager
async def _run(
    agent: AgentClient, question: str, mode: Mode, assistant_id: str
) -> AsyncIterator[Run]:
    """One run, whose thread is deleted when the check has ended."""
    async with agent.stream(question, modes=(mode,), assistant_id=assistant_id) as run:
        try:
            yield run
        finally:
            if run.thread_id is not None:
                await delete_threads(agent, [run.thread_id])


async def _first_event(agent: AgentClient, assistant_id: str) -> Finding:
    """From the request to the first event of the graph itself, which the queue comes before."""
    waits = [await _wait_seconds(agent, assistant_id) for _ in range(3)]
    middle = statistics.median(waits)
    told = f"{middle * 1000:.0f} ms until a run begins (median of 3)"
    return Finding("start of a run", middle < 0.3, told)


async def _wait_seconds(agent: AgentClient, assistant_id: str) -> float:
    started, waited = time.monotonic(), 0.0
    async with _run(agent, QUESTION, "values", assistant_id) as run:
        async for event in run:  # to its end: a thread whose run is still being ended is in use
            if not waited and not isinstance(event, RunStarted):
                waited = time.monotonic() - started
                await run.stop()
    return waited or time.monotonic() - started


async def _job_slots(agent: AgentClient, assistant_id: str) -> Finding:
    """Runs started together must overlap; with one slot the last waits for all the others."""

    async def span() -> tuple[float, float]:
        began = 0.0
        async with _run(agent, QUESTION, "values", assistant_id) as run:
            async for event in run:
                if not began and not isinstance(event, RunStarted):
                    began = time.monotonic()
        return began, time.monotonic()

    spans = await asyncio.gather(*(span() for _ in range(_PARALLEL)))
    overlap = max(begin for begin, _ in spans) < min(end for _, end in spans)
    told = f"{_PARALLEL} runs at once" if overlap else "runs wait for each other: give it more jobs"
    return Finding("job slots", overlap, told)


async def _streaming(agent: AgentClient, assistant_id: str) -> Finding:
    """Events that all arrive at the very end were held back by something in between."""
    arrivals: list[float] = []
    async with _run(agent, "Count from one to thirty in words.", "messages", assistant_id) as run:
        async for event in run:
            if isinstance(event, Token | Done):
                arrivals.append(time.monotonic())
    if len(arrivals) < 3:
        return Finding("buffering", None, "the answer was too short to tell")
    spread = arrivals[-1] - arrivals[0]
    held = spread < 0.01
    return Finding("buffering", not held, f"{len(arrivals) - 1} pieces over {spread:.2f} s")


async def _resumable(agent: AgentClient, assistant_id: str) -> Finding:
    """A finished run's stream, joined again from its beginning, must give all its events again."""
    async with _run(agent, QUESTION, "values", assistant_id) as run:
        sent = [event async for event in run]
        ids = str(run.thread_id), str(run.run_id)
        again = 0
        async for part in agent.sdk.runs.join_stream(*ids, last_event_id="-1"):
            again += part.event != "metadata"
    expected = len(sent) - 2  # without run_started and done, which are the client's own
    complete = again >= expected  # a join may cut the same run into more pieces
    told = "all events again" if complete else f"{again} of {expected} events again"
    return Finding("resumable streams", complete, told)


async def _heartbeats(agent: AgentClient, assistant_id: str) -> Finding:
    """A stream with nothing to say must show life, or proxies close it. Waits on a delayed run."""
    thread_id = await agent.threads.create()
    question: Any = {"messages": [{"role": "user", "content": QUESTION}]}
    with translated(agent.url, thread_id=thread_id):
        run = await agent.sdk.runs.create(
            thread_id, assistant_id, input=question, after_seconds=10 * round(_SILENCE_SECONDS)
        )
        try:
            waited = await _first_comment_seconds(agent, thread_id, run["run_id"])
        finally:
            await agent.threads.delete(thread_id)
    if waited is None:
        return Finding("heartbeats", False, f"none in {_SILENCE_SECONDS:g} s of silence")
    return Finding("heartbeats", True, f"after {waited:.1f} s of silence")


async def _first_comment_seconds(agent: AgentClient, thread_id: str, run_id: str) -> float | None:
    started = time.monotonic()
    path = f"/threads/{thread_id}/runs/{run_id}/stream"
    with suppress(TimeoutError):
        async with (
            asyncio.timeout(_SILENCE_SECONDS),
            agent.sdk.http.client.stream("GET", path) as answer,
        ):
            async for line in answer.aiter_lines():
                if line.startswith(":"):
                    return time.monotonic() - started
    return None


async def _storage(agent: AgentClient, assistant_id: str) -> Finding:
    """A server whose disk is full goes on, and may lose what it has not written."""
    with translated(agent.url):
        health = await agent.sdk.http.client.get("/ok", params={"check_db": "1"})
    if health.is_success:
        return Finding("storage", True, "the server writes what it has to")
    return Finding("storage", False, "not everything can be written: the server's log says why")


async def _protocols(agent: AgentClient, assistant_id: str) -> Finding:
    """Which protocols of others the server speaks: each can be closed by a setting."""
    told = []
    for name, path in _PROTOCOLS.items():
        with translated(agent.url):
            answer = await agent.sdk.http.client.get(path)
        told.append(f"{name} ({path}): {'open' if answer.is_success else 'closed'}")
    return Finding("protocols", True, ", ".join(told))


async def _blocking(agent: AgentClient, assistant_id: str) -> Finding:
    """While a run works the server must answer others; one blocking call holds everybody up."""
    worst, running = 0.0, asyncio.create_task(_wait_seconds(agent, assistant_id))
    with translated(agent.url):
        while not running.done():
            started = time.monotonic()
            await agent.sdk.http.client.get("/ok")
            worst = max(worst, time.monotonic() - started)
    await running
    return Finding("blocking calls", worst < 0.5, f"longest answer {worst * 1000:.0f} ms in a run")


_CHECKS: tuple[Check, ...] = (
    _access, _assistants, _model, _first_event, _job_slots, _streaming, _resumable, _heartbeats,
    _storage, _blocking, _protocols,
)  # fmt: skip
