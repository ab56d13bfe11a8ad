"""OpenAI's Responses on two processes: a number means the same at each, and after a restart."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from tests.model_server import ModelServer, Reply, ToolCall
from tests.responses import events, one_of_each, plain, respond
from tests.scale.cluster import Cluster, Process

QUESTION, SAVES = "Six times seven, of two?", "Save it, of two."
LONG = "stream 300 tokens at 60 per second"
WORDS = " ".join(f"word{n}" for n in range(300))


@asynccontextmanager
async def api_of(process: Process) -> AsyncIterator[AsyncOpenAI]:
    http = httpx.AsyncClient(trust_env=False, timeout=60)
    async with AsyncOpenAI(
        base_url=f"{process.url}/v1", api_key="any", max_retries=0, http_client=http
    ) as client:
        yield client


@pytest.fixture
async def first(cluster: Cluster) -> AsyncIterator[AsyncOpenAI]:
    async with api_of(cluster.processes[0]) as api:
        yield api


@pytest.fixture
async def second(cluster: Cluster) -> AsyncIterator[AsyncOpenAI]:
    async with api_of(cluster.processes[1]) as api:
        yield api


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    call = ToolCall("calculate", {"expression": "6*7"})
    model.on(QUESTION, Reply("Let me see.", reasoning="Six", tool_calls=[call]), Reply("It is 42."))
    note = ToolCall("save_note", {"title": "x", "text": "y"})
    model.on(SAVES, Reply("I save it.", tool_calls=[note]), Reply("It is saved."))


async def head_of(api: AsyncOpenAI, response_id: str) -> list[Any]:
    """Its events up to one in the middle of the text, where the stream is left."""
    head: list[Any] = []
    async for event in await api.responses.retrieve(response_id, stream=True):
        head.append(event)
        if len(head) > 20:
            break
    return head


def after(told: list[Any], number: int) -> str:
    """The text of the events after this number, whatever pieces they come in."""
    return "".join(
        e.delta for e in told if e.type.endswith("text.delta") and e.sequence_number > number
    )


async def test_every_number_at_both(first: AsyncOpenAI, second: AsyncOpenAI) -> None:
    """What follows any event is the same at the process that ran it, and at the other."""
    made = await respond(first, QUESTION)
    whole = await events(first, made.id)
    assert whole[-1].response.output_text.endswith("It is 42.")
    for number in [None, *(event.sequence_number for event in whole[:-1])]:
        rest = [event for event in whole if number is None or event.sequence_number > number]
        assert await events(second, made.id, number) == rest
    assert (await second.responses.retrieve(made.id)) == (await first.responses.retrieve(made.id))


async def test_a_running_one_at_both(first: AsyncOpenAI, second: AsyncOpenAI) -> None:
    """It is left in the middle and read on at the other, which has none of its text twice."""
    made = await respond(first, LONG, background=True)
    head = await head_of(first, made.id)
    rest = await events(second, made.id, head[-1].sequence_number)
    assert rest[0].sequence_number > head[-1].sequence_number
    assert after([*head, *rest], -1) == WORDS
    assert rest[-1].response.output_text == WORDS


async def test_a_process_that_is_started_again(cluster: Cluster, second: AsyncOpenAI) -> None:
    """An ended response's events are served by the new process; a running one goes on."""
    process = cluster.processes[0]
    async with api_of(process) as api:
        ended = await respond(api, QUESTION)
        whole = await events(api, ended.id)
        running = await respond(api, LONG, background=True)
        head = await head_of(api, running.id)
    await process.end(signal.SIGKILL)
    process.start()
    await process.ready()
    async with api_of(process) as api:
        middle = whole[len(whole) // 2].sequence_number
        assert await events(api, ended.id, middle) == [
            event for event in whole if event.sequence_number > middle
        ]
        rest = await events(api, running.id, head[-1].sequence_number)
        again = await events(second, running.id, head[-1].sequence_number)
        assert after(rest, -1) == after(again, -1)
    numbers = [event.sequence_number for event in rest]
    assert numbers == sorted(set(numbers))
    assert numbers[0] > head[-1].sequence_number
    assert rest[-1].response.output_text == WORDS


async def test_what_redis_forgot(cluster: Cluster, first: AsyncOpenAI, second: AsyncOpenAI) -> None:
    """Items, status and usage are served as the thread keeps them; events are gone, and told so."""
    made = await one_of_each(first, second, calculates=QUESTION, saves=SAVES, is_long=LONG)
    await asyncio.to_thread(forget_streams, cluster)
    for number, before in enumerate(made):
        one, other = (first, second) if number % 2 else (second, first)
        assert plain(await one.responses.retrieve(before.id)) == plain(before)
        assert await failure_code(other, before.id) == "stream_lost"
    later = made[1]
    await first.responses.delete(later.id)
    with pytest.raises(openai.NotFoundError):
        await second.responses.retrieve(later.id)


async def failure_code(api: AsyncOpenAI, response_id: str) -> str | None:
    """Why its events cannot be had: what is found soon has a status, the rest is an event."""
    try:
        [told] = await events(api, response_id, 5)
    except openai.APIStatusError as error:
        return error.code
    return str(told.code)


def forget_streams(cluster: Cluster) -> None:
    """Takes the events of all runs out of Redis, as it does by itself after a while."""
    command = ["redis-cli", "-p", str(cluster.redis.port)]
    keys = subprocess.run([*command, "--scan"], capture_output=True, text=True, check=True).stdout
    streams = [key for key in keys.split() if "stream:" in key]
    assert streams
    subprocess.run([*command, "del", *streams], check=True, capture_output=True)
