"""Threads that grow, with `STEADY_HISTORY=summarize`: old turns are sent as one summary."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient, AgentEvent, Mode, ModelFailed, Progress, Token
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_script import SUMMARY, SUMMARY_PROMPT
from tests.model_server import ModelServer, Reply

MODES: tuple[Mode, ...] = ("values", "updates", "messages", "events")
WORDS = "word " * 80  # about 100 tokens; the answer repeats them

Start = Callable[[], LocalServer]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("summaries") / "threads.sqlite"


@pytest.fixture(scope="module")
def start(model: ModelServer, file: Path) -> Iterator[Start]:
    """Starts a server in the place of the one before."""
    env = server_env(
        model.url,
        STEADY_CONTEXT_TOKENS="2000",
        STEADY_HISTORY="summarize",
        STEADY_THREADS_FILE=str(file),
    )
    config = find_config(Path(__file__).parent)
    with ExitStack() as running:

        def start() -> LocalServer:
            running.close()
            return running.enter_context(LocalServer(config, env=env, folder=file.parent))

        yield start


@pytest.fixture(scope="module")
def server(start: Start) -> LocalServer:
    return start()


@pytest.fixture
async def agent(server: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(server.url) as client:
        yield client


def summary_prompts(model: ModelServer) -> list[str]:
    return [str(body["messages"][-1]["content"]) for body in model.requests if is_summary(body)]


def is_summary(body: Any) -> bool:
    messages = body.get("messages")  # requests of the Responses API have none
    return bool(messages) and str(messages[-1]["content"]).startswith(SUMMARY_PROMPT)


def told(events: list[AgentEvent]) -> list[Any]:
    return [event.data for event in events if isinstance(event, Progress)]


async def turn(
    agent: AgentClient, n: int, thread_id: str | None, mode: Mode = "messages"
) -> tuple[str, str, list[AgentEvent]]:
    """The thread, the answer and the events of one more turn."""
    async with agent.stream(f"Turn {n}. {WORDS}", thread_id=thread_id, modes=mode) as run:
        events = [event async for event in run]
        return str(run.thread_id), await run.text(), events


async def until_summarized(
    agent: AgentClient, model: ModelServer, mode: Mode = "messages"
) -> tuple[str, int, list[AgentEvent]]:
    """The thread whose turn brought its first summary, how many it has, and that turn's events."""
    thread_id, before = None, len(summary_prompts(model))
    for n in range(20):
        thread_id, text, events = await turn(agent, n, thread_id, mode)
        assert text == f"You said: Turn {n}. {WORDS}"
        if len(summary_prompts(model)) > before:
            return thread_id, n + 1, events
    raise AssertionError("no turn was summarized")


async def with_turns(agent: AgentClient, turns: int) -> str:
    """A new thread with so many turns."""
    thread_id = None
    for n in range(turns):
        thread_id, *_ = await turn(agent, n, thread_id)
    return str(thread_id)


@pytest.mark.parametrize("mode", MODES)
async def test_old_turns_are_summarized_once(
    agent: AgentClient, model: ModelServer, mode: Mode
) -> None:
    """What no longer fits is sent as a summary, the same one in the turns after; the thread keeps
    its messages, and the summarizing call says nothing in any mode."""
    thread_id, turns, events = await until_summarized(agent, model, mode)
    prompts = summary_prompts(model)
    (event,) = told(events)
    assert event["type"] == "history"
    left_out = event["summarized_messages"]
    assert 0 < left_out < turns * 2
    first_sent = model.requests[-1]["messages"]
    assert SUMMARY in first_sent[1]["content"]
    assert f"Turn {left_out // 2}." in first_sent[1]["content"]
    assert f"Turn {left_out // 2 - 1}." in prompts[-1]
    assert f"Turn {left_out // 2}." not in prompts[-1]
    for n in (turns, turns + 1):
        _, text, more = await turn(agent, n, thread_id, mode)
        assert text == f"You said: Turn {n}. {WORDS}"
        assert told(more) == []
        sent = model.requests[-1]["messages"]
        assert sent[: len(first_sent)] == first_sent
        events += more
    assert len(summary_prompts(model)) == len(prompts)
    assert not any(SUMMARY in event.content for event in events if isinstance(event, Token))
    kept = await agent.threads.messages(thread_id)
    assert len(kept) == 2 * (turns + 2)
    assert SUMMARY not in str(kept)


async def test_the_next_summary_holds_the_one_before(
    agent: AgentClient, model: ModelServer
) -> None:
    """When more has to go, the earlier summary and the turns since then are summarized together."""
    thread_id, turns, _ = await until_summarized(agent, model)
    before = len(summary_prompts(model))
    for n in range(turns, turns + 20):
        *_, events = await turn(agent, n, thread_id)
        if len(summary_prompts(model)) > before:
            break
    assert SUMMARY in summary_prompts(model)[-1]
    assert "Turn 0." not in summary_prompts(model)[-1]
    assert SUMMARY in model.requests[-1]["messages"][1]["content"]
    assert [each["type"] for each in told(events)] == ["history"]


async def test_an_answer_given_again_needs_no_other_summary(
    agent: AgentClient, model: ModelServer
) -> None:
    """`regenerate` asks with the summary that the thread has."""
    thread_id, *_ = await until_summarized(agent, model)
    before, sent = len(summary_prompts(model)), model.requests[-1]["messages"]
    await agent.regenerate(thread_id).text()
    assert model.requests[-1]["messages"] == sent
    assert len(summary_prompts(model)) == before


async def test_an_earlier_branch_has_the_summary_of_its_time(
    agent: AgentClient, model: ModelServer
) -> None:
    """Who goes back before the summary is sent the turns themselves, not what came later."""
    thread_id, *_ = await until_summarized(agent, model)
    second = (await agent.threads.messages(thread_id))[2]
    await agent.stream("Other.", thread_id=thread_id, replaces=second["id"]).text()
    sent = model.requests[-1]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert SUMMARY not in str(sent)


async def test_a_summary_that_fails_fails_the_run(agent: AgentClient, model: ModelServer) -> None:
    """The error is the model's, nothing is lost, and the next turn has the summary made."""
    _, turns, _ = await until_summarized(agent, model)
    thread_id = await with_turns(agent, turns - 1)
    model.judge = lambda body: (400, {"error": {"message": "No."}}) if is_summary(body) else None
    try:
        with pytest.raises(ModelFailed):
            await turn(agent, turns - 1, thread_id)
    finally:
        model.judge = None
    _, text, events = await turn(agent, turns, thread_id)
    assert text == f"You said: Turn {turns}. {WORDS}"
    assert len(told(events)) == 1
    assert len(await agent.threads.messages(thread_id)) == 2 * turns + 1


async def test_a_run_that_is_stopped_in_its_summary_keeps_none_of_it(
    agent: AgentClient, model: ModelServer
) -> None:
    """A half summary is no answer; the one after it is made anew."""
    _, turns, _ = await until_summarized(agent, model)
    thread_id = await with_turns(agent, turns - 1)
    before = len(summary_prompts(model))
    model.tokens_per_second = 0.2
    try:
        async with agent.stream(f"Turn {turns - 1}. {WORDS}", thread_id=thread_id) as run:
            reading = asyncio.create_task(run.text())
            await asyncio.to_thread(model.wait_for, lambda it: len(summary_prompts(it)) > before)
            await run.stop()
            assert await reading == ""
            assert run.done is not None
            assert run.done.status == "stopped"
    finally:
        model.tokens_per_second = None
    assert (await agent.threads.messages(thread_id))[-1]["type"] == "human"
    *_, events = await turn(agent, turns, thread_id)
    assert len(told(events)) == 1


async def test_a_run_that_is_stopped_after_its_summary_keeps_that(
    agent: AgentClient, model: ModelServer
) -> None:
    """The summary is a step of its own: the turn after the stop has it made by nobody again."""
    _, turns, _ = await until_summarized(agent, model)
    thread_id = await with_turns(agent, turns - 1)
    question = f"Slowly. {WORDS}"
    model.on(question, Reply("word " * 200, tokens_per_second=20.0))
    async with agent.stream(question, thread_id=thread_id) as run:
        async for event in run:
            if isinstance(event, Token):
                await run.stop()
    before = len(summary_prompts(model))
    *_, events = await turn(agent, turns, thread_id)
    assert told(events) == []
    assert len(summary_prompts(model)) == before


async def test_a_summary_is_stored_once(agent: AgentClient, model: ModelServer, file: Path) -> None:
    """The steps after it do not write it again."""
    thread_id, turns, _ = await until_summarized(agent, model)
    for n in range(turns, turns + 2):
        await turn(agent, n, thread_id)
    with closing(sqlite3.connect(file)) as opened:
        question = "SELECT count(*) FROM {} WHERE instr({}, ?) > 0 AND thread_id = ?"
        written = [
            opened.execute(question.format(*at), (SUMMARY.encode(), thread_id)).fetchone()[0]
            for at in [("writes", "value"), ("checkpoints", "checkpoint")]
        ]
    assert written == [1, 1]


async def test_the_terminal_says_so(server: LocalServer, agent: AgentClient) -> None:
    """`steady run` has a line for it."""
    thread_id, out = None, ""
    for n in range(20):
        if "summarized" in out:
            break
        given = [f"Turn {n}. {WORDS}", *(("--thread-id", thread_id) if thread_id else ())]
        command = [sys.executable, "-m", "client.cli.main", "run", *given, "--url", server.url]
        done = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
        )
        out = (await done.communicate())[0].decode()
        thread_id = thread_id or (await agent.threads.list(1))[0]["thread_id"]
    assert "older messages were summarized" in out


async def test_a_restarted_server_has_the_summary(
    agent: AgentClient, model: ModelServer, start: Start
) -> None:
    """The summary is in the thread: another process sends the same beginning."""
    thread_id, turns, _ = await until_summarized(agent, model)
    before, sent = len(summary_prompts(model)), model.requests[-1]["messages"]
    restarted = await asyncio.to_thread(start)
    async with AgentClient(restarted.url) as again:
        for n in (turns, turns + 1):
            _, text, events = await turn(again, n, thread_id)
            assert text == f"You said: Turn {n}. {WORDS}"
            assert told(events) == []
            assert model.requests[-1]["messages"][: len(sent)] == sent
    assert len(summary_prompts(model)) == before
