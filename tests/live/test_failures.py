"""What goes wrong behind and around a run, as typed errors that say what to do next."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from client import (
    AgentClient,
    CannotConnect,
    Done,
    InvalidRequest,
    Limits,
    ModelFailed,
    Run,
    ServerError,
    SteadyError,
    StreamLost,
    Token,
    ToolResult,
)
from client.cli.local_server import LocalServer, find_config, free_port
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call

CONFIG = find_config(Path(__file__).parent)
SIX_WORDS = "word0 word1 word2 word3 word4 word5"


@pytest.fixture(scope="module")
def frail(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that soon loses patience with its model, and whose weather service is down."""
    closed = f"http://127.0.0.1:{free_port()}"
    env = server_env(
        model.url,
        STEADY_MODEL="no-such-model",
        STEADY_MODEL_IDLE_SECONDS="0.5",
        STEADY_GEOCODING_URL=closed,
        STEADY_WEATHER_URL=closed,
    )
    with LocalServer(CONFIG, env=env, folder=tmp_path_factory.mktemp("frail")) as running:
        yield running


@pytest.fixture
async def frail_agent(frail: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(frail.url) as client:
        yield client


async def read(run: Run) -> None:
    async with run:
        async for event in run:
            assert not isinstance(event, Done)


async def failure(
    agent: AgentClient, question: str, kind: type[SteadyError] = ModelFailed, **options: Any
) -> SteadyError:
    """The error that a run ends with: typed, one line, and with nothing in it to hide."""
    with pytest.raises(kind) as caught:
        await read(agent.stream(question, **options))
    error = caught.value
    for secret in ("test-key", "Traceback", "\n", 'File "', "site-packages"):
        assert secret not in error.message
    return error


# The model endpoint


async def test_a_wrong_key_names_its_setting(
    agent: AgentClient, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that refuses the key ends the run with ModelFailed naming OPENAI_API_KEY."""
    monkeypatch.setattr(model, "api_key", "another-key")
    error = await failure(agent, "Who goes there?")
    assert "OPENAI_API_KEY" in error.message
    assert "another-key" not in error.message


async def test_an_unknown_model_names_its_setting(
    frail_agent: AgentClient, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that lacks the model ends the run naming the model and STEADY_MODEL."""
    monkeypatch.setattr(model, "models", ("scripted",))
    error = await failure(frail_agent, "Hello?")
    assert "'no-such-model'" in error.message
    assert "STEADY_MODEL" in error.message


async def test_an_unknown_model_of_a_runs_context_is_named(
    frail_agent: AgentClient, model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the run chose the model that is not there, the error names that one."""
    monkeypatch.setattr(model, "models", ("scripted",))
    error = await failure(frail_agent, "Hello?", context={"model": "chosen-model"})
    assert "'chosen-model'" in error.message
    assert "no-such-model" not in error.message


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "cannot be answered"),
        (403, "OPENAI_API_KEY"),
        (429, "rate limit"),
        (500, "status 500"),
        (503, "status 503"),
    ],
)
async def test_an_http_error_of_the_model_is_told(
    agent: AgentClient, status: int, text: str
) -> None:
    """Each status of the endpoint that retrying does not cure is worded for people."""
    error = await failure(agent, f"fail {status}")
    assert text in error.message


async def test_a_model_that_breaks_off_fails_with_the_text_so_far(agent: AgentClient) -> None:
    """A connection cut in the middle is never a finished answer: the error carries what came."""
    error = await failure(agent, "stream 50 tokens then disconnect after 6")
    assert error.text == SIX_WORDS
    assert error.retryable
    assert error.run_id
    assert error.thread_id
    assert error.last_event_id


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "events"])
async def test_a_broken_off_answer_fails_in_every_mode(agent: AgentClient, mode: str) -> None:
    """No mode makes a success of an answer that the model did not finish."""
    error = await failure(agent, "stream 50 tokens then disconnect after 6", modes=[mode])
    assert "OPENAI_BASE_URL" not in error.message
    assert "broke off" in error.message


async def test_a_clean_end_before_the_answer_is_finished_fails(agent: AgentClient) -> None:
    """A response that ends without the model's finish is not believed to be the whole answer."""
    error = await failure(agent, "stream 50 tokens then end after 6")
    assert error.text == SIX_WORDS


async def test_an_error_event_in_the_middle_fails(agent: AgentClient) -> None:
    """An error that the endpoint sends inside its stream ends the run with its own words."""
    error = await failure(agent, "stream 50 tokens then error_event after 6")
    assert error.text == SIX_WORDS
    assert "The server had an error" in error.message


async def test_broken_json_in_the_middle_fails(agent: AgentClient) -> None:
    """An event that is not JSON ends the run; what follows it is not taken for the answer."""
    error = await failure(agent, "stream 50 tokens then bad_json after 6")
    assert error.text == SIX_WORDS
    assert "cannot be read" in error.message


async def test_a_silent_model_names_its_setting(frail_agent: AgentClient) -> None:
    """A model that falls silent ends the run within the time that the named setting gives it."""
    error = await failure(frail_agent, "stream 50 tokens then stall after 6")
    assert error.text == SIX_WORDS
    assert "STEADY_MODEL_IDLE_SECONDS" in error.message


async def test_a_failed_run_leaves_its_thread_usable(agent: AgentClient) -> None:
    """After a model failure the next turn on the thread is answered."""
    error = await failure(agent, "stream 50 tokens then disconnect after 6")
    async with agent.stream("Still there?", thread_id=error.thread_id) as run:
        assert await run.text() == "You said: Still there?"


# Tools


@pytest.mark.parametrize("text", ["", "Let me see."])
async def test_broken_arguments_fail_clearly(
    agent: AgentClient, model: ModelServer, text: str
) -> None:
    """A call whose arguments are not JSON is no silent end: the error names the tool."""
    model.on("Break it.", Reply(text, tool_calls=[Call("calculate", '{"expression": "6*')]))
    error = await failure(agent, "Break it.")
    assert "calculate" in error.message
    assert "arguments that cannot be read" in error.message
    assert error.text == text


async def test_one_broken_call_among_good_ones_fails_and_spoils_no_thread(
    agent: AgentClient, model: ModelServer
) -> None:
    """A broken call is not dropped beside a good one, and the thread goes on without it."""
    calls = [Call("calculate", {"expression": "1+1"}), Call("calculate", '{"expression"')]
    model.on("Break one.", Reply(tool_calls=calls), Reply("Two."))
    error = await failure(agent, "Break one.")
    async with agent.stream("Go on.", thread_id=error.thread_id) as run:
        assert await run.text() == "You said: Go on."
    assert not any(m.get("tool_calls") for m in model.requests[-1]["messages"])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (Call("launch_rocket", {}), "launch_rocket"),
        (Call("calculate", {"formula": "1"}), "expression"),
        (Call("calculate", {"expression": "1/0"}), "Cannot evaluate"),
        (Call("calculate", {"expression": 7}), "expression"),
    ],
)
async def test_a_call_that_cannot_be_made_is_told_to_the_model(
    agent: AgentClient, model: ModelServer, call: Call, text: str
) -> None:
    """An unknown tool, wrong arguments or a tool's error go back to the model, which goes on."""
    model.on("Try it.", Reply(tool_calls=[call]), Reply("That did not work."))
    async with agent.stream("Try it.") as run:
        results = [event async for event in run if isinstance(event, ToolResult)]
        assert await run.text() == "That did not work."
    assert [result.status for result in results] == ["error"]
    assert text in results[0].content
    assert model.requests[-1]["messages"][-1]["content"] == results[0].content


async def test_a_tool_whose_service_is_down_is_told_to_the_model(
    frail_agent: AgentClient, model: ModelServer
) -> None:
    """A tool that cannot reach its service gives an error result, and the run its answer."""
    model.on(
        "Weather in Turin?",
        Reply(tool_calls=[Call("get_weather", {"city": "Turin"})]),
        Reply("I cannot tell."),
    )
    async with frail_agent.stream("Weather in Turin?") as run:
        results = [event async for event in run if isinstance(event, ToolResult)]
        assert await run.text() == "I cannot tell."
    assert [(r.tool, r.status) for r in results] == [("get_weather", "error")]
    assert results[0].content == "The weather service cannot be reached right now."


async def test_an_agent_that_never_stops_calling_is_ended(
    agent: AgentClient, model: ModelServer
) -> None:
    """A model that calls tools for ever is ended with a clear error, not with a silent end."""
    again = Reply(tool_calls=[Call("calculate", {"expression": "1+1"})])
    model.on("For ever.", *[again] * 60)
    error = await failure(agent, "For ever.", SteadyError)
    assert "limit of steps" in error.message


# Stopping and leaving


async def test_a_run_cancelled_by_another_client_ends_stopped(
    agent: AgentClient, server: LocalServer, model: ModelServer
) -> None:
    """The stream ends with `stopped` and the text so far, and the model is let go."""
    left = model.disconnects
    async with (
        AgentClient(server.url) as other,
        agent.stream("stream 5000 tokens at 50 per second") as run,
    ):
        async for event in run:
            if isinstance(event, Token):
                await other.sdk.runs.cancel(str(run.thread_id), str(run.run_id))
                break
        rest = [event async for event in run]
        assert (await run.text()).startswith("word0")
    assert [e.status for e in rest if isinstance(e, Done)] == ["stopped"]
    await asyncio.to_thread(model.wait_for, lambda m: m.disconnects > left)


async def test_stop_ends_the_own_stream(agent: AgentClient) -> None:
    """`run.stop()` ends the stream with `stopped`, and the thread takes the next turn."""
    async with agent.stream("stream 5000 tokens at 50 per second") as run:
        async for event in run:
            if isinstance(event, Token):
                await run.stop()
    assert run.done
    assert run.done.status == "stopped"
    async with agent.stream("And now?", thread_id=run.thread_id) as after:
        assert await after.text() == "You said: And now?"


async def test_leaving_early_lets_the_run_go_on(agent: AgentClient) -> None:
    """A reader who leaves does not end the run: the thread gets the whole answer."""
    async with agent.stream("stream 60 tokens at 60 per second") as run:
        async for event in run:
            if isinstance(event, Token):
                break
    thread_id, run_id = str(run.thread_id), str(run.run_id)
    await agent.sdk.runs.join(thread_id, run_id)
    assert (await agent.sdk.runs.get(thread_id, run_id))["status"] == "success"
    last = (await agent.threads.messages(thread_id))[-1]
    assert last["content"] == " ".join(f"word{n}" for n in range(60))


async def test_a_stream_that_nobody_reads_starts_no_run(
    agent: AgentClient, model: ModelServer
) -> None:
    """Opening and leaving without reading asks nothing of the server."""
    requests = len(model.requests)
    async with agent.stream("Never mind.") as run:
        pass
    assert (run.run_id, run.thread_id, len(model.requests)) == (None, None, requests)


# The server


async def test_no_server_cannot_connect() -> None:
    """Where nothing listens, the error names the URL and may be tried again."""
    url = f"http://127.0.0.1:{free_port()}"
    async with AgentClient(url) as nobody:
        error = await failure(nobody, "Hello?", CannotConnect)
        with pytest.raises(CannotConnect):
            await nobody.threads.list()
    assert url in error.message
    assert error.retryable


@pytest.mark.parametrize("url", ["not a url", "ftp://127.0.0.1", "127.0.0.1:2024", "http://"])
async def test_a_url_that_is_none_is_rejected(url: str) -> None:
    """What cannot be a server's URL is rejected in one line that shows a good one."""
    with pytest.raises((InvalidRequest, CannotConnect)) as caught:
        async with AgentClient(url) as nobody:
            await nobody.info()
    assert "\n" not in caught.value.message


async def test_a_port_that_speaks_something_else_is_a_typed_error(model: ModelServer) -> None:
    """A server that is not a LangGraph server gives a ServerError, not a decoding error."""
    async with AgentClient(model.url) as wrong:
        await failure(wrong, "Hello?", ServerError)
        with pytest.raises(ServerError):
            await wrong.info()


@pytest.mark.parametrize("message", ["", "   ", "\n\t"])
async def test_an_empty_message_is_rejected(agent: AgentClient, message: str) -> None:
    """Saying nothing is rejected before any request."""
    with pytest.raises(InvalidRequest, match="empty"):
        agent.stream(message)


@pytest.mark.parametrize("modes", [[], ["tokens"], ["messages", "words"], "tokens"])
async def test_an_unknown_mode_is_rejected(agent: AgentClient, modes: Any) -> None:
    """A mode that is none, or none at all, is rejected with the four that there are."""
    with pytest.raises(InvalidRequest, match="values, updates, messages, events"):
        agent.stream("Hello?", modes=modes)


async def test_a_server_killed_in_the_middle_is_no_end(model: ModelServer, tmp_path: Path) -> None:
    """When the server dies, the stream raises a typed error in time, with the text so far."""
    server = LocalServer(CONFIG, env=server_env(model.url), folder=tmp_path).start()
    seen: list[str] = []
    async with AgentClient(server.url, limits=Limits(reconnect_seconds=2.0)) as agent:
        run = agent.stream("stream 5000 tokens at 50 per second")
        with pytest.raises((ServerError, StreamLost)) as caught:
            await asyncio.wait_for(read_and_kill(run, server, seen), 45)
    server.log.unlink()
    error = caught.value
    assert error.text == "".join(seen) != ""
    assert (error.run_id, error.thread_id) == (run.run_id, run.thread_id)
    assert error.retryable


async def read_and_kill(run: Run, server: LocalServer, seen: list[str]) -> None:
    async with run:
        async for event in run:
            if isinstance(event, Token):
                seen.append(event.content)
                await asyncio.to_thread(server.kill)


async def test_a_model_that_is_down_names_its_setting(tmp_path: Path) -> None:
    """Where no model listens, the run fails naming OPENAI_BASE_URL, without the URL's password."""
    url = f"http://someone:hunter2@127.0.0.1:{free_port()}/v1"
    with LocalServer(CONFIG, env=server_env(url), folder=tmp_path) as server:
        async with AgentClient(server.url) as agent:
            error = await failure(agent, "Hello?")
    assert "OPENAI_BASE_URL" in error.message
    assert "hunter2" not in error.message
