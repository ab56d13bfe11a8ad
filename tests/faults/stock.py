"""The same scenarios with the stock SDK, by the same ruler.

`client.runs.stream` has no typed end: an exception or an `error` part counts as an error that was
told, and a normal end as a claim that all has come.
"""

import asyncio
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from langgraph_sdk import get_client

from client.decoding.decoder import WIRE_MODES
from tests.faults import outcome as verdicts
from tests.faults.contestants import Contestant, Reading
from tests.faults.model_wire import ModelWire
from tests.faults.outcome import Outcome
from tests.faults.plan import Plan
from tests.faults.proxy import Proxy
from tests.faults.scenarios import Scenario
from tests.faults.truth import Server, text_of
from tests.model_script import tokens

HANG_SECONDS = 60.0


async def judge_contestant(
    scenario: Scenario, server: Server, wire: ModelWire, name: str, read: Contestant
) -> Outcome:
    """The outcome of a client that others made, which is asked for the run's text."""
    scenario = replace(scenario, question=f"{scenario.question} ({name})", modes=("messages",))
    wire.on(scenario.question, scenario.replies, scenario.model_wire)
    began = time.monotonic()
    thread_id = await server.new_thread()
    for turn in range(scenario.earlier_turns):
        earlier = Scenario(turn, "", scenario.modes, f"Turn {turn}.", (), Plan())
        await read(earlier, server.url, thread_id, Reading())
    reading = Reading()
    async with Proxy(server.url, scenario.plan) as proxy:
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await read(scenario, proxy.url, thread_id, reading)
            hangs = False
        except TimeoutError as error:
            hangs = not str(error)
            reading.error = f"TimeoutError: {error}"
        except Exception as error:
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            hangs, reading.error = False, f"{type(error).__name__}: {error}"
        faults = (*proxy.done, *wire.met(scenario.question))
    read_texts = _Read(reading.texts, reading.error)
    if hangs:
        outcome = Outcome(scenario, "hang")
    elif reading.error:
        outcome = _of_error(scenario, read_texts, reading.error)
    else:
        try:
            messages = (await server.truth(thread_id)).messages
            outcome = _of_screen(scenario, reading.texts, messages)
        except httpx.HTTPError:
            outcome = Outcome(scenario, "silent end", "the server is gone, or the thread")
    with suppress(httpx.HTTPError):
        await server.forget(thread_id)
    return replace(outcome, faults=faults, seconds=time.monotonic() - began)


def _of_screen(scenario: Scenario, texts: dict[str, str], messages: dict[str, str]) -> Outcome:
    """The verdict on what a person has before him against the thread's messages."""
    if left := [text for at, text in texts.items() if text and at not in messages]:
        return Outcome(scenario, "left standing", f"{left[0][:40]!r} is not in the thread")
    ids = [*messages][scenario.earlier_turns :]
    if scenario.stops_after is None:
        return _of_end(scenario, _Read(texts), ids)
    shown, kept = ([by_id.get(at, "") for at in ids] for by_id in (texts, messages))
    if shown == kept and len(kept) == 1:
        return Outcome(scenario, "complete")
    is_part = len(kept) == 1 and kept[0].startswith(shown[0])
    return Outcome(scenario, "silent end" if is_part else "lost or doubled", f"{len(kept)} kept")


@dataclass
class _Read:
    """`texts` is each message's text by id, from whichever mode tells it."""

    texts: dict[str, str] = field(default_factory=dict)
    failed: str = ""

    def take(self, name: str, data: Any) -> None:
        match name:
            case "error":
                self.failed = str(data)
            case "messages" if data[0]["type"] == "AIMessageChunk":
                self._add(data[0])
            case "updates":
                for delta in data.values():
                    self._keep(delta)
            case "values":
                self._keep(data)
            case "events" if data["event"] == "on_chat_model_stream":
                self._add(data["data"]["chunk"])

    def _add(self, chunk: Any) -> None:
        self.texts[chunk["id"]] = self.texts.get(chunk["id"], "") + text_of(chunk["content"])

    def _keep(self, state: Any) -> None:
        for message in (isinstance(state, dict) and state.get("messages")) or ():
            if message["type"] == "ai":
                self.texts[message["id"]] = text_of(message["content"])


async def judge_stock(
    scenario: Scenario, server: Server, wire: ModelWire, *, resumable: bool
) -> Outcome:
    """The outcome of the stock SDK, in the first of the scenario's modes."""
    question = f"{scenario.question} ({'resumable' if resumable else 'default'})"
    modes = ("messages",) if "messages" in scenario.modes else scenario.modes[:1]
    scenario = replace(scenario, question=question, modes=modes)
    wire.on(question, scenario.replies, scenario.model_wire)
    began = time.monotonic()
    thread_id = await server.new_thread()
    async with Proxy(server.url, scenario.plan) as proxy:
        try:
            async with asyncio.timeout(HANG_SECONDS):
                outcome = await _stream(scenario, server, proxy.url, thread_id, resumable)
        except TimeoutError:
            outcome = Outcome(scenario, "hang")
        faults = (*proxy.done, *wire.met(question))
    await server.forget(thread_id)
    return replace(outcome, faults=faults, seconds=time.monotonic() - began)


async def _stream(
    scenario: Scenario, server: Server, url: str, thread_id: str, resumable: bool
) -> Outcome:
    read = _Read()
    try:
        async with get_client(url=url) as stock:
            with warnings.catch_warnings(action="ignore"):
                async for part in stock.runs.stream(
                    thread_id,
                    "agent",
                    input={"messages": [{"role": "user", "content": scenario.question}]},
                    stream_mode=[WIRE_MODES[mode] for mode in scenario.modes],
                    stream_resumable=resumable,
                ):
                    read.take(part.event, part.data)
                    if scenario.reader_seconds:
                        await asyncio.sleep(scenario.reader_seconds)
    except Exception as error:
        return _of_error(scenario, read, f"{type(error).__name__}: {error}")
    if read.failed:
        return _of_error(scenario, read, read.failed)
    return _of_end(scenario, read, [*(await server.truth(thread_id)).messages])


def _of_end(scenario: Scenario, read: _Read, ids: list[str]) -> Outcome:
    if scenario.must_fail:
        return Outcome(scenario, "silent end", "the model's failure was not told")
    said = [tokens(reply.text) for reply in scenario.replies]
    got = [read.texts.get(at, "") for at in ids]
    pairs = list(zip(said, [*got, *[""] * len(said)], strict=False))
    found = verdicts.compare(pairs)
    lost = found.lost + found.cut_off
    if not lost and not found.doubled:
        return Outcome(scenario, "complete")
    verdict = "lost or doubled" if found.lost or found.doubled else "silent end"
    return Outcome(scenario, verdict, lost=lost, doubled=found.doubled)  # type: ignore[arg-type]


def _of_error(scenario: Scenario, read: _Read, told: str) -> Outcome:
    said = [words for words in (tokens(reply.text) for reply in scenario.replies) if words]
    found = verdicts.compare(list(zip(said, filter(None, read.texts.values()), strict=False)))
    verdict = "lost or doubled" if found.lost or found.doubled else "told"
    return Outcome(scenario, verdict, told, found.lost, found.doubled)  # type: ignore[arg-type]
