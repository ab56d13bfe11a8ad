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

from tests.clients.environments import HERE, node
from tests.faults.scenarios import Scenario, scenario
from tests.faults.truth import text_of

ASSISTANT = "agent"


@dataclass
class Reading:
    """`texts` is each message's text by id; `error` what the client said went wrong."""

    texts: dict[str, str] = field(default_factory=dict)
    error: str = ""

    def keep(self, message_id: str, text: str) -> None:
        """Adds a piece of a message."""
        self.texts[message_id] = self.texts.get(message_id, "") + text


Contestant = Callable[[Scenario, str, str, Reading], Awaitable[None]]


def for_contestants(seeds: range) -> list[Scenario]:
    """Scenarios of network faults that ask for nothing but a run's text, by one reader."""
    made = (scenario(seed, model_faults=False) for seed in seeds)
    return [it for it in made if not (it.approvals or it.leaves or it.must_fail)]


async def python_v3(asked: Scenario, url: str, thread_id: str, reading: Reading) -> None:
    """The Python SDK's thread stream. A message's text comes while the next message is awaited."""
    pieces = count(1)

    async def read(message: Any) -> None:
        async for text in message.text:
            reading.keep(str(message.message_id), text)
            await _rest(asked, next(pieces))

    async with get_client(url=url, api_key=None) as client:
        with warnings.catch_warnings(action="ignore"):
            async with (
                client.threads.stream(thread_id, assistant_id=ASSISTANT) as thread,
                asyncio.TaskGroup() as group,
            ):
                await thread.run.start(input=_input(asked))
                async for message in thread.messages:
                    group.create_task(read(message))
                await thread.output


def python_v2(*, resumable: bool) -> Contestant:
    """The Python SDK's run stream."""

    async def read(asked: Scenario, url: str, thread_id: str, reading: Reading) -> None:
        pieces = count(1)
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
                    reading.keep(part.data[0]["id"], text_of(part.data[0]["content"]))
                    await _rest(asked, next(pieces))

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
            }
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            answer = await self._answers[number]
            reading.texts, reading.error = answer["texts"], answer["error"]

        return read


def _input(asked: Scenario) -> Any:
    return {"messages": [{"role": "user", "content": asked.question}]}


async def _rest(asked: Scenario, pieces: int) -> None:
    if asked.reader_seconds and pieces <= asked.reader_sleeps:
        await asyncio.sleep(asked.reader_seconds)
