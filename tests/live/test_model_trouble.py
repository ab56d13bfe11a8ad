"""A model in trouble: tried again, then another one, and the thread holds what stands."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest

from client import AgentClient, ModelFailed, Retry, Run, RunFailed, Token, ToolResult
from client.cli.local_server import LocalServer, find_config
from client.events import AgentEvent, Mode
from tests.conftest import server_env
from tests.live.test_stopping import silent_service
from tests.live.test_websocket import say, talking, turn
from tests.model_server import Fault, ModelServer, Reply, ToolCall
from tests.prometheus import Scrape
from tests.sse_reader import JSON, ask

WORDS = ("One", " two", " three", " four", " five")
MID: dict[str, Fault] = {
    "breaks off": Fault("disconnect", after_tokens=3),
    "ends early": Fault("end", after_tokens=3),
    "falls silent": Fault("stall", after_tokens=3),
    "sends broken JSON": Fault("bad_json", after_tokens=3),
    "sends an error": Fault("error_event", after_tokens=3),
}


@pytest.fixture(scope="module")
async def silent_weather() -> AsyncIterator[str]:
    async with silent_service() as url:
        yield url


@pytest.fixture(scope="module")
def patient(
    model: ModelServer, silent_weather: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """A server that tries again twice, then asks another model; tools have a second."""
    env = server_env(
        model.url,
        STEADY_MODEL_RETRIES="2",
        STEADY_FALLBACK_MODEL="the-other",
        STEADY_MODEL_IDLE_SECONDS="1",
        STEADY_TOOL_SECONDS="1",
        STEADY_MAX_STEPS="12",
        STEADY_LONGEST_ANSWER_CHARACTERS="2000",
        STEADY_GEOCODING_URL=silent_weather,
    )
    config = find_config(Path(__file__).parent)
    with LocalServer(config, env=env, folder=tmp_path_factory.mktemp("patient")) as running:
        yield running


@pytest.fixture
async def asking(patient: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(patient.url) as client:
        yield client


async def read(run: Run) -> list[AgentEvent]:
    async with run:
        return [event async for event in run]


def standing(events: list[AgentEvent]) -> str:
    """The text that a reader holds who discards what he is told to."""
    texts: dict[str, str] = {}
    for event in events:
        if isinstance(event, Token):
            texts[event.message_id] = texts.get(event.message_id, "") + event.content
        elif isinstance(event, Retry):
            texts.pop(event.message_id, None)
    return "".join(texts.values())


@pytest.mark.parametrize("case", MID)
async def test_an_answer_that_fails_in_the_middle_is_tried_again(
    asking: AgentClient, model: ModelServer, case: str
) -> None:
    """One `retry` says what to discard; the text that stands is whole, and the thread's."""
    question = f"Count: {case}."
    model.on(question, Reply(WORDS, fails=[MID[case]]))
    run = asking.stream(question)
    events = await read(run)
    (retry,) = [event for event in events if isinstance(event, Retry)]
    told = [event.message_id for event in events if isinstance(event, Token)]
    assert retry.attempt == 2
    assert retry.message_id == told[0]
    assert retry.message_id != told[-1]
    assert standing(events) == await run.text() == "".join(WORDS)
    messages = await asking.threads.messages(str(run.thread_id))
    assert [message["content"] for message in messages] == [question, "".join(WORDS)]


async def test_new_tries_are_counted(
    asking: AgentClient, patient: LocalServer, model: ModelServer
) -> None:
    """Each time that the model is tried again, in the metrics."""
    name = "steady_model_retries_total"
    before = (await Scrape.of(patient.url)).value(name)
    model.on("Count the tries.", Reply(WORDS, fails=[MID["breaks off"], MID["ends early"]]))
    await asking.stream("Count the tries.").text()
    assert (await Scrape.of(patient.url)).value(name) == before + 2


MODES: tuple[Mode, ...] = ("values", "updates", "events")


@pytest.mark.parametrize("mode", MODES)
async def test_the_answer_is_the_same_in_each_mode(
    asking: AgentClient, model: ModelServer, mode: Mode
) -> None:
    """Whatever is streamed, the text is that of the try that stands."""
    question = f"Count in {mode}."
    model.on(question, Reply(WORDS, fails=[MID["breaks off"]]))
    run = asking.stream(question, modes=[mode])
    assert any(isinstance(event, Retry) for event in await read(run))
    assert await run.text() == "".join(WORDS)


async def test_retry_is_told_on_every_surface(patient: LocalServer, model: ModelServer) -> None:
    """Server-sent events and the WebSocket tell of it as the client does."""
    model.on("Count on SSE.", Reply(WORDS, fails=[MID["breaks off"]]))
    model.on("Count on WS.", Reply(WORDS, fails=[MID["breaks off"]]))
    over_sse = await ask(patient.url, "/agent/stream", {"message": "Count on SSE."})
    async with talking(patient) as socket:
        await say(socket, type="message", message="Count on WS.")
        over_socket = await turn(socket)
    for events in (over_sse, over_socket):
        assert discarded(events) == "".join(WORDS)
        assert [event["type"] for event in events].count("retry") == 1


def discarded(events: list[JSON]) -> str:
    texts: dict[str, str] = {}
    for event in events:
        if event["type"] == "token":
            texts[event["message_id"]] = texts.get(event["message_id"], "") + event["content"]
        if event["type"] == "retry":
            texts.pop(event["message_id"], None)
    return "".join(texts.values())


async def test_the_model_after_a_tool_is_tried_again(
    asking: AgentClient, model: ModelServer
) -> None:
    """Only the call that failed is repeated: the tool ran once, and its result stays."""
    call = ToolCall("calculate", {"expression": "6 * 7"})
    again = Reply(WORDS, fails=[MID["breaks off"]])
    model.on("Calculate, then count.", Reply("Hm.", tool_calls=[call]), again)
    events = await read(asking.stream("Calculate, then count."))
    assert sum(isinstance(event, ToolResult) for event in events) == 1
    assert standing(events) == "Hm." + "".join(WORDS)


async def test_a_busy_model_is_tried_again(asking: AgentClient, model: ModelServer) -> None:
    """429 with Retry-After, then 503, then an answer: nothing was said, nothing is retracted."""
    busy = [Fault("status", status=429, headers={"retry-after": "0"}), Fault("status", status=503)]
    model.on("Busy?", Reply("Not now.", fails=busy))
    run = asking.stream("Busy?")
    events = await read(run)
    assert not any(isinstance(event, Retry) for event in events)
    assert await run.text() == "Not now."


async def test_a_passing_http_error_is_not_noticed(asking: AgentClient, model: ModelServer) -> None:
    """An endpoint that refuses once is asked again before anything is shown."""
    model.on("Once more.", Reply("Here I am.", fails=[Fault("status", status=503)]))
    assert await asking.stream("Once more.").text() == "Here I am."


async def test_the_other_model_answers_last(asking: AgentClient, model: ModelServer) -> None:
    """When all tries have failed, the fallback model is asked, once."""
    fails = [MID["sends an error"]] * 3
    model.on("Who answers?", Reply(WORDS, fails=fails))
    events = await read(asking.stream("Who answers?"))
    assert [event.attempt for event in events if isinstance(event, Retry)] == [2, 3, 4]
    assert standing(events) == "".join(WORDS)
    asked = [r["model"] for r in model.requests if "Who answers?" in str(r)]
    assert asked[-1] == "the-other"
    assert "the-other" not in asked[:-1]


@pytest.mark.parametrize("status", [429, 503])
async def test_the_other_model_answers_where_one_stays_busy(
    asking: AgentClient, model: ModelServer, status: int
) -> None:
    """What the SDK has asked in vain as often as it may is not asked again: the other one is."""
    question = f"Who is free, {status}?"
    busy = Fault("status", status=status, headers={"retry-after": "0"})
    model.on(question, Reply(WORDS, fails=[busy] * 3))
    events = await read(asking.stream(question))
    assert standing(events) == "".join(WORDS)
    asked = [r["model"] for r in model.requests if question in str(r)]
    assert (len(asked), asked[-1]) == (4, "the-other")
    assert "the-other" not in asked[:-1]


async def test_a_stop_between_two_tries_keeps_nothing_of_the_first(
    asking: AgentClient, model: ModelServer
) -> None:
    """What a `retry` has discarded does not come back with a stop."""
    late = Reply(WORDS, fails=[MID["breaks off"]], first_token_seconds=30)
    model.on("Stop between.", Reply(WORDS, fault=MID["breaks off"]), late)
    async with asking.stream("Stop between.") as run:
        events = []
        async for event in run:
            events.append(event)
            if isinstance(event, Retry):
                await run.stop()
    assert run.done
    assert run.done.status == "stopped"
    assert standing(events) == ""
    assert [m["type"] for m in await asking.threads.messages(str(run.thread_id))] == ["human"]


async def test_in_the_end_it_is_an_error(asking: AgentClient, model: ModelServer) -> None:
    """When the fallback fails too, the run fails with the reason; the thread can go on."""
    model.on("Never.", Reply(WORDS, fault=MID["ends early"]))
    run = asking.stream("Never.")
    with pytest.raises(ModelFailed, match="broke off"):
        await read(run)
    assert await asking.stream("And now?", thread_id=run.thread_id).text() == "You said: And now?"


async def test_what_cannot_help_is_not_tried_again(asking: AgentClient, model: ModelServer) -> None:
    """A wrong key or a bad request fails at once."""
    before = len(model.requests)
    with pytest.raises(ModelFailed, match="OPENAI_API_KEY"):
        await read(asking.stream("fail 401"))
    assert len(model.requests) == before + 1


ERRORS = {
    "an object with a message": b'{"object": "error", "message": "CUDA out of memory"}',
    "a string": b'{"error": "CUDA out of memory"}',
    "choices that are null": b'{"choices": null, "error": {"message": "CUDA out of memory"}}',
    "a detail": b'{"detail": "CUDA out of memory"}',
}


@pytest.mark.parametrize("form", ERRORS)
async def test_an_error_inside_an_answer_is_tried_again(
    asking: AgentClient, model: ModelServer, form: str
) -> None:
    """An error in a stream with status 200, in any form: three tries, the fallback, its words."""
    question = f"What if the error is {form}?"
    model.on(question, Reply(raw=[b"data: " + ERRORS[form] + b"\n\n"]))
    with pytest.raises(ModelFailed, match="CUDA out of memory"):
        await read(asking.stream(question))
    models = [request["model"] for request in model.requests if question in str(request)]
    assert (len(models), models[-1]) == (4, "the-other")


async def test_a_page_is_no_model_and_is_asked_once(
    asking: AgentClient, model: ModelServer
) -> None:
    """HTML in place of an answer: one request, and one line that names the setting."""
    page = Reply(raw=[b"<!doctype html><title>Welcome</title>"], raw_type="text/html")
    model.on("Is this a model?", page)
    with pytest.raises(ModelFailed, match="OPENAI_BASE_URL"):
        await read(asking.stream("Is this a model?"))
    assert sum("Is this a model?" in str(request) for request in model.requests) == 1


MB = b"x" * 1_000_000
HUGE: dict[str, Callable[[], Reply]] = {
    "one event": lambda: Reply(raw=[b'data: {"choices": [{"delta": {"content": "', *[MB] * 100]),
    "a compressed one": lambda: Reply(
        raw=[gzip.compress(b"data: " + MB * 200)], raw_headers={"content-encoding": "gzip"}
    ),
    "a body that is no stream": lambda: Reply(
        raw=[b'{"choices": [{"message": {"content": "', *[MB] * 100], raw_type="application/json"
    ),
}


@pytest.mark.parametrize("what", HUGE)
async def test_what_is_huge_is_a_failure_and_takes_no_memory(
    patient: LocalServer, asking: AgentClient, model: ModelServer, what: str
) -> None:
    """100 MB or more at once end the run with one line; the server does not hold them."""
    assert patient.process
    server = psutil.Process(patient.process.pid)
    question = f"How large is {what}?"
    model.on(question, HUGE[what]())
    before, most = server.memory_info().rss, 0
    failing = asyncio.create_task(read(asking.stream(question)))
    while not failing.done():
        most = max(most, server.memory_info().rss)
        await asyncio.wait([failing], timeout=0.02)
    with pytest.raises(ModelFailed, match=r"16 MB|cannot be read"):
        await failing
    assert most - before < 100_000_000


async def test_an_answer_without_end_is_cut_off(asking: AgentClient) -> None:
    """Past STEADY_LONGEST_ANSWER_CHARACTERS an answer is a failure, and the thread can go on."""
    run = asking.stream("stream 100000 tokens")
    with pytest.raises(ModelFailed, match="STEADY_LONGEST_ANSWER_CHARACTERS"):
        await read(run)
    again = asking.stream("And now?", thread_id=run.thread_id)
    assert await again.text() == "You said: And now?"


async def test_a_tool_has_a_time_limit(asking: AgentClient, model: ModelServer) -> None:
    """A tool that takes too long is given up; the model is told, and the run goes on."""
    call = ToolCall("get_weather", {"city": "Oslo"})
    model.on("Slow weather?", Reply(tool_calls=[call]), Reply("I could not find out."))
    run = asking.stream("Slow weather?")
    (result,) = [e for e in await read(run) if isinstance(e, ToolResult)]
    assert await run.text() == "I could not find out."
    assert result.status == "error"
    assert "took longer than 1 s" in result.content


async def test_a_loop_ends_with_a_clear_message(asking: AgentClient, model: ModelServer) -> None:
    """A model that calls tools for ever is ended at the limit."""
    call = ToolCall("calculate", {"expression": "1 + 1"})
    model.on("Loop.", *[Reply(tool_calls=[call])] * 20)
    with pytest.raises(RunFailed, match="limit of steps"):
        await read(asking.stream("Loop."))
