"""Clients that others made, under the same faults, by the same ruler: each reads one answer.

A contestant is asked for one run's text and nothing else. What it raises, or tells as an error,
counts as an error that was told; a normal end is its claim that all has come.
"""

import asyncio
import json
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Any, Self

from langgraph_sdk import get_client

from client import AgentClient, Limits, Retry, Token
from tests.clients.environments import HERE, node
from tests.faults.scenarios import Scenario, scenario
from tests.faults.truth import text_of

ASSISTANT = "agent"
APPROVE = {"type": "approve"}
_LIMITS = {"connect_seconds": 5.0, "heartbeat_timeout_seconds": 1.5}


@dataclass
class Reading:
    """What a person has before him: `texts` is each message's text by id; `error` what the client
    said went wrong."""

    texts: dict[str, str] = field(default_factory=dict)
    error: str = ""
    pieces: int = 0

    async def keep(self, asked: Scenario, message_id: str, text: str) -> None:
        """Adds a piece of a message, and rests where the scenario has a slow reader."""
        self.texts[message_id] = self.texts.get(message_id, "") + text
        self.pieces += 1
        if asked.reader_seconds and self.pieces <= asked.reader_sleeps:
            await asyncio.sleep(asked.reader_seconds)


Contestant = Callable[[Scenario, str, str, Reading], Awaitable[None]]


def for_contestants(seeds: range) -> list[Scenario]:
    """Scenarios of network faults that ask for nothing but a run's text, by one reader."""
    made = (scenario(seed, model_faults=False) for seed in seeds)
    return [it for it in made if not (it.approvals or it.leaves or it.must_fail)]


async def steadystream(asked: Scenario, url: str, thread_id: str, reading: Reading) -> None:
    """This project's client. Whoever leaves joins after the last event, and keeps the text."""
    leaves = list(asked.leaves)
    async with client_of(asked, url) as agent:
        run = agent.stream(asked.question, thread_id=thread_id)
        while run.done is None or run.interrupts:
            if run.interrupts:
                run = run.decide([APPROVE])
            elif run.run_id:
                run = agent.runs.join(thread_id, run.run_id, run.last_event_id)
            async with run:
                async for event in run:
                    if isinstance(event, Retry):
                        reading.texts.pop(event.message_id, None)
                    elif isinstance(event, Token):
                        await reading.keep(asked, event.message_id, event.content)
                        if reading.pieces == asked.stops_after:
                            await run.stop()
                        if leaves and reading.pieces >= leaves[0]:
                            leaves.clear()
                            break


async def python_v3(asked: Scenario, url: str, thread_id: str, reading: Reading) -> None:
    """The Python SDK's thread stream. A message's text comes while the next message is awaited.

    It has no id to join after: whoever leaves joins again, and reads what is there as new.
    """
    left = asyncio.Event()
    async with get_client(url=url, api_key=None) as client:

        async def read(message: Any, run_id: str) -> None:
            message_id = str(message.message_id)
            try:
                async for text in message.text:
                    await reading.keep(asked, message_id, text)
                    if reading.pieces == asked.stops_after:
                        await client.runs.cancel(thread_id, run_id)
                    if asked.leaves and reading.pieces == asked.leaves[0]:
                        left.set()
            except RuntimeError:  # the message failed; if its run did, `output` raises, too
                reading.texts.pop(message_id, None)

        async def follow(*, starts: bool) -> None:
            run_id = ""
            async with (
                client.threads.stream(thread_id, assistant_id=ASSISTANT) as thread,
                asyncio.TaskGroup() as group,
            ):
                if starts:
                    run_id = (await thread.run.start(input=_input(asked)))["run_id"]
                for waits in range(asked.approvals, -1, -1):
                    async for message in thread.messages:
                        group.create_task(read(message, run_id))
                    if waits:
                        await thread.run.respond({"decisions": [APPROVE]})
                await thread.output

        with warnings.catch_warnings(action="ignore"):
            first = asyncio.create_task(follow(starts=True))
            leaving = asyncio.create_task(left.wait())
            try:
                await asyncio.wait({first, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not left.is_set():
                    return await first
            finally:
                leaving.cancel()
                first.cancel()
                await asyncio.wait({first, leaving})
            reading.texts.clear()
            await follow(starts=False)


def python_v2(*, resumable: bool) -> Contestant:
    """The Python SDK's run stream."""

    async def read(asked: Scenario, url: str, thread_id: str, reading: Reading) -> None:
        async with get_client(url=url, api_key=None) as client:
            async for part in client.runs.stream(
                thread_id,
                ASSISTANT,
                input=_input(asked),
                stream_mode="messages-tuple",
                stream_resumable=resumable,
            ):
                if part.event == "error":
                    reading.error = str(part.data)
                elif part.event == "messages" and part.data[0]["type"] == "AIMessageChunk":
                    await reading.keep(asked, part.data[0]["id"], text_of(part.data[0]["content"]))

    return read


class JavaScript:
    """The JS SDK, in one Node for as long as the context is open."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count()
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            node(),
            "scripts/contestant.mjs",
            cwd=HERE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=2**24,
        )
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process
        assert self._listening
        self._process.kill()
        await self._process.wait()
        self._listening.cancel()

    async def _listen(self) -> None:
        assert self._process
        assert self._process.stdout
        async for line in self._process.stdout:
            answer = json.loads(line)
            if (waiting := self._answers.pop(answer["id"], None)) and not waiting.done():
                waiting.set_result(answer)

    def reads(self, api: str) -> Contestant:
        """Over one of its APIs: v2, v2 resumable, v3."""

        async def read(asked: Scenario, url: str, thread_id: str, reading: Reading) -> None:
            assert self._process
            assert self._process.stdin
            number = next(self._numbers)
            self._answers[number] = asyncio.get_running_loop().create_future()
            request = {
                "id": number,
                "api": api,
                "url": url,
                "thread": thread_id,
                "question": asked.question,
                "seconds": asked.reader_seconds,
                "sleeps": asked.reader_sleeps if asked.reader_seconds else 0,
                "stop": asked.stops_after,
                "leave": asked.leaves[0] if asked.leaves else None,
                "approvals": asked.approvals,
            }
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            answer = await self._answers[number]
            reading.texts, reading.error = answer["texts"], answer["error"]

        return read


def client_of(asked: Scenario, url: str) -> AgentClient:
    """This project's client, with limits that suit faults of a few seconds."""
    return AgentClient(url, limits=Limits(**_LIMITS, reconnect_seconds=asked.reconnect_seconds))


def _input(asked: Scenario) -> Any:
    return {"messages": [{"role": "user", "content": asked.question}]}
