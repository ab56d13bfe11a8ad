"""Threads that grow: the model is sent what fits, the thread keeps everything."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from client import AgentClient, Progress
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall

WORDS = "word " * 200  # about 250 tokens

GIVEN = [{"role": role, "content": f"{n} {WORDS}"} for n in range(9) for role in ("user", "ai")]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("short") / "threads.sqlite"


@pytest.fixture(scope="module")
def short_sighted(model: ModelServer, file: Path) -> Iterator[LocalServer]:
    env = server_env(model.url, STEADY_CONTEXT_TOKENS="1000", STEADY_THREADS_FILE=str(file))
    config = find_config(Path(__file__).parent)
    with LocalServer(config, env=env, folder=file.parent) as running:
        yield running


@pytest.fixture
async def asking(short_sighted: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(short_sighted.url) as client:
        yield client


async def test_the_model_is_sent_what_fits(asking: AgentClient, model: ModelServer) -> None:
    """Of a long thread the model gets the prompt and the latest turns, each call answered."""
    thread_id = None
    for n in range(12):
        question = f"Turn {n}. {WORDS}"
        calls = (ToolCall("calculate", {"expression": f"{n} + 1"}),)
        model.on(question, Reply(tool_calls=calls), Reply("Counted."))
        run = asking.stream(question, thread_id=thread_id)
        await run.text()
        thread_id = run.thread_id
        sent = model.requests[-1]["messages"]
        assert sent[0]["role"] == "system"
        assert sent[1]["role"] == "user"
        assert len(str(sent)) < 10_000
        asked = [call["id"] for m in sent for call in m.get("tool_calls") or ()]
        assert asked == [m["tool_call_id"] for m in sent if m["role"] == "tool"]
        assert question in str(sent)
    assert "Turn 0." not in str(sent)
    kept = await asking.threads.messages(str(thread_id))
    assert len(kept) == 12 * 4
    assert "Turn 0." in kept[0]["content"]


async def test_what_is_left_out_is_told_when_it_changes(
    asking: AgentClient, model: ModelServer
) -> None:
    """A run says how much is left out each time that it is more than at the model's last call."""
    thread_id, left_out, asked = None, [0], len(model.requests)
    for n in range(12):
        question = f"Told {n}. {WORDS}"
        model.on(question, Reply(tool_calls=[ToolCall("now")]), Reply("It is late."))
        run = asking.stream(question, thread_id=thread_id)
        told = [event.data async for event in run if isinstance(event, Progress)]
        thread_id = run.thread_id
        expected = []
        for there, request in zip((4 * n + 1, 4 * n + 3), model.requests[asked:], strict=True):
            sent = len(request["messages"]) - 1  # without the prompt
            if there - sent != left_out[-1]:
                left_out.append(there - sent)
                counts = {"dropped_messages": there - sent, "sent_messages": sent}
                expected.append({"type": "history", **counts})
        assert told == expected
        asked = len(model.requests)
    assert 3 <= len(left_out) <= 13


async def test_what_is_left_out_of_a_given_history_is_told(asking: AgentClient) -> None:
    """Answers that came with the input told nobody anything."""
    run = asking.stream("And now?", history=GIVEN)
    told = [event.data async for event in run if isinstance(event, Progress)]
    assert [each["dropped_messages"] + each["sent_messages"] for each in told] == [19]


async def test_the_terminal_tells_what_is_left_out(asking: AgentClient) -> None:
    """`steady run` has a line for it."""
    thread_id = await asking.threads.create({"graph_id": "agent"})
    await asking.sdk.threads.update_state(thread_id, {"messages": GIVEN}, as_node="__start__")
    command = [sys.executable, "-m", "client.cli.main", "run", "And now?", "--url", asking.url]
    done = await asyncio.create_subprocess_exec(
        *command,
        "--thread-id",
        thread_id,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
    )
    out = (await done.communicate())[0].decode()
    assert "16 older messages do not fit the context and were left out" in out


async def test_a_turn_too_long_is_sent_all_the_same(
    asking: AgentClient, model: ModelServer
) -> None:
    """The present turn is never cut: what is too much for the model, the model says itself."""
    question = "Long. " + WORDS * 10
    assert "Long. " in await asking.stream(question).text()
    assert model.requests[-1]["messages"][1]["content"] == question


async def test_a_step_writes_what_it_added(asking: AgentClient, file: Path) -> None:
    """What was said once is not written again with each step that follows."""
    mark = "Said once, and kept once."
    run = asking.stream(mark)
    await run.text()
    for n in range(15):
        await asking.stream(f"{n}", thread_id=run.thread_id).text()
    with closing(sqlite3.connect(file)) as opened:
        at_thread = (mark.encode(), str(run.thread_id))
        question = "SELECT count(*) FROM {} WHERE instr({}, ?) > 0 AND thread_id = ?"
        written = [
            opened.execute(question.format(table, column), at_thread).fetchone()[0]
            for table, column in [("writes", "value"), ("checkpoints", "checkpoint")]
        ]
    assert 0 < sum(written) <= 4  # the input, the question and the answer that repeats it
