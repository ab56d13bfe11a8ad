"""Runs one scenario against a server, through the proxy, and judges what the reader was given."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from client import Run, SteadyError
from tests.faults import outcome as verdicts
from tests.faults.contestants import APPROVE, client_of
from tests.faults.heard import Heard
from tests.faults.model_wire import ModelWire
from tests.faults.outcome import Outcome
from tests.faults.proxy import Proxy
from tests.faults.scenarios import MODEL_RETRIES, Scenario
from tests.faults.truth import Server
from tests.model_script import place

HANG_SECONDS = 60.0

Tell = Callable[[str], None]


async def judge(
    scenario: Scenario, server: Server, wire: ModelWire, tell: Tell = lambda line: None
) -> Outcome:
    """The outcome; `tell` hears every event, request and fault as it happens."""
    wire.on(scenario.question, scenario.replies, scenario.model_wire)
    began, asked = time.monotonic(), len(wire.model.requests)
    heard = Heard()
    async with Proxy(server.url, scenario.plan, tell) as proxy:
        try:
            async with asyncio.timeout(HANG_SECONDS):
                outcome = await _stream(scenario, server, proxy.url, heard, tell)
        except TimeoutError:
            outcome = Outcome(scenario, "hang", f"after {heard.events} events")
        faults = (*proxy.done, *wire.met(scenario.question))
    if outcome.is_right and (twice := _asked_too_often(scenario, wire, asked)):
        outcome = replace(outcome, verdict="started twice", detail=twice)
    return replace(outcome, faults=faults, seconds=time.monotonic() - began)


async def _stream(
    scenario: Scenario, server: Server, url: str, heard: Heard, tell: Tell
) -> Outcome:
    async with client_of(scenario, url) as agent:
        run = agent.stream(scenario.question, modes=scenario.modes)
        try:
            for stays in scenario.leaves:
                await _read(scenario, run, heard, tell, stays)
                if run.done is not None:
                    break
                tell(f"left; joins after {run.last_event_id}")
                where = str(run.thread_id), str(run.run_id)
                run = agent.runs.join(*where, run.last_event_id)
            if run.done is None:
                await _read(scenario, run, heard, tell)
            calls = run.tool_calls
            while run.interrupts:
                run = agent.decide(
                    str(run.thread_id), run.interrupts[0].id, [APPROVE], modes=scenario.modes
                )
                await _read(scenario, run, heard, tell)
                calls += [call for call in run.tool_calls if call not in calls]
            text = await run.text()
            truth = await server.truth(str(run.thread_id))
            return verdicts.of_end(scenario, heard, text, calls, truth)
        except SteadyError as error:
            tell(f"{type(error).__name__}: {error.message}")
            return verdicts.of_error(scenario, heard, error)
        except Exception as error:
            return Outcome(scenario, "untyped error", f"{type(error).__name__}: {error}")
        finally:
            await server.forget(run.thread_id)


async def _read(
    scenario: Scenario, run: Run, heard: Heard, tell: Tell, stays: int | None = None
) -> None:
    """Reads to the end, or leaves after `stays` events."""
    async with run:
        async for event in run:
            tell(f"{event}")
            heard.take(event)
            await _rest(scenario, heard)
            if stays is not None and (stays := stays - 1) <= 0:
                return


async def _rest(scenario: Scenario, heard: Heard) -> None:
    if scenario.reader_seconds and heard.events <= scenario.reader_sleeps:
        await asyncio.sleep(scenario.reader_seconds)


def _asked_too_often(scenario: Scenario, wire: ModelWire, before: int) -> str:
    """A run that was started twice has asked the model twice."""
    since = wire.model.requests[before:]
    asked = sum(place(request["messages"])[0] == scenario.question for request in since)
    tried = (len(reply.fails) + bool(reply.fault) * MODEL_RETRIES for reply in scenario.replies)
    wanted = len(scenario.replies) + sum(tried) + len(wire.met(scenario.question))
    return f"{asked} model calls for {wanted}" if asked > wanted else ""
