"""OpenAI's Responses on a server that was killed and started again in the same folder."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import openai
import pytest
from openai import AsyncOpenAI

from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall
from tests.responses import events, one_of_each, plain, respond

pytestmark = pytest.mark.timeout(240)
QUESTION, SAVES, STOPS = "Six times seven?", "Save that.", "stream 300 tokens at 20 per second"
LISTS_WRITTEN_SECONDS = 10  # the server's own interval


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("responses")


@pytest.fixture(scope="module")
def server(model: ModelServer, folder: Path) -> Iterator[LocalServer]:
    call = ToolCall("calculate", {"expression": "6*7"})
    model.on(QUESTION, Reply("Let me see.", reasoning="Six", tool_calls=[call]), Reply("42."))
    note = ToolCall("save_note", {"title": "x", "text": "y"})
    model.on(SAVES, Reply("I save it.", tool_calls=[note]), Reply("It is saved."))
    with LocalServer(
        find_config(Path(__file__).parent), env=server_env(model.url), folder=folder
    ) as made:
        yield made


@pytest.fixture
async def api(server: LocalServer) -> AsyncIterator[AsyncOpenAI]:
    http = httpx.AsyncClient(
        trust_env=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)
    )
    async with AsyncOpenAI(
        base_url=f"{server.url}/v1", api_key="any", max_retries=0, http_client=http
    ) as client:
        yield client


async def kill_and_start(server: LocalServer) -> None:
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def written(folder: Path) -> None:
    """Returns when the server has written its list of runs once more."""
    file, since = folder / ".langgraph_api" / ".langgraph_ops.pckl", time.time()

    def is_new() -> bool:
        return file.exists() and file.stat().st_mtime > since

    async with asyncio.timeout(6 * LISTS_WRITTEN_SECONDS):
        while not await asyncio.to_thread(is_new):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def test_what_the_thread_keeps_is_served(api: AsyncOpenAI, server: LocalServer) -> None:
    """Items, status and usage are those of before; their events are gone, and that is said."""
    made = await one_of_each(api, api, calculates=QUESTION, saves=SAVES, is_long=STOPS)
    calculated, later, *_ = made
    await kill_and_start(server)
    for before in made:
        after = await api.responses.retrieve(before.id)
        assert plain(after) == plain(before)
        with pytest.raises(openai.APIStatusError) as gone:
            await events(api, before.id, 5)
        assert gone.value.code == "stream_lost"
    assert (await respond(api, "and on", previous_response_id=later.id)).conversation == (
        calculated.conversation
    )
    await api.responses.delete(later.id)
    with pytest.raises(openai.NotFoundError):
        await api.responses.retrieve(later.id)
    assert (await api.responses.retrieve(calculated.id)).output_text == calculated.output_text


async def test_a_response_that_the_server_forgot(api: AsyncOpenAI, server: LocalServer) -> None:
    """What was not at its end, and is not listed, has failed; the conversation can go on."""
    made = await respond(api, "stream 900 tokens at 20 per second", background=True)
    async for event in await api.responses.retrieve(made.id, stream=True):
        if event.type == "response.output_text.delta":
            break
    await kill_and_start(server)
    lost = await api.responses.retrieve(made.id)
    assert lost.status == "failed"
    assert lost.error
    assert "stopped before" in lost.error.message


async def test_a_response_that_is_done_again(
    api: AsyncOpenAI, server: LocalServer, folder: Path, model: ModelServer
) -> None:
    """A number of before is no place in the new stream; the new one's numbers resume exactly."""
    made = await respond(api, "stream 700 tokens at 10 per second", background=True)
    stream = await api.responses.retrieve(made.id, stream=True)
    head = [await anext(aiter(stream)) for _ in range(12)]
    await stream.close()
    await written(folder)
    asked = len(model.requests)
    await kill_and_start(server)
    with pytest.raises(openai.APIStatusError) as gone:
        await events(api, made.id, head[-1].sequence_number)
    assert gone.value.code == "stream_lost"
    await asyncio.to_thread(model.hurry, asked)
    whole = await events(api, made.id, None)
    assert whole[0].type == "response.created"
    assert whole[0].sequence_number > head[-1].sequence_number
    assert whole[-1].response.output_text == " ".join(f"word{n}" for n in range(700))
    middle = whole[len(whole) // 2].sequence_number
    rest = await events(api, made.id, middle)
    assert rest == [event for event in whole if event.sequence_number > middle]
