"""The plain chain as a library, and `steady chain`: all three ways to stream it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.runnables import Runnable

from agent.chain import PROMPT
from agent.model.chat_model import make_chat_model
from agent.model.errors import ModelError
from agent.settings import Settings
from tests.conftest import server_env
from tests.model_server import Fault, ModelServer, Reply

WORDS = ("One", " two", " three")


@pytest.fixture
def chain(model: ModelServer) -> Runnable:
    config = Settings(_env_file=None, openai_base_url=model.url, openai_api_key="test-key")
    model.on("Count.", Reply(WORDS, tokens_per_second=5))
    model.on("Break off.", Reply(WORDS, fault=Fault("end", after_tokens=2)))
    return PROMPT | make_chat_model(config)


def test_stream_gives_the_pieces(chain: Runnable) -> None:
    """`chain.stream` yields the answer in more than one piece, in order."""
    texts = [piece.text for piece in chain.stream({"question": "Count."})]
    assert "".join(texts) == "One two three"
    assert sum(bool(text) for text in texts) > 1


async def test_astream_gives_the_pieces(chain: Runnable) -> None:
    """`chain.astream` does the same."""
    texts = [piece.text async for piece in chain.astream({"question": "Count."})]
    assert "".join(texts) == "One two three"
    assert sum(bool(text) for text in texts) > 1


async def test_astream_events_tells_of_each_step(chain: Runnable) -> None:
    """`chain.astream_events` v2 tells of the prompt and of each of the model's pieces."""
    events = [e async for e in chain.astream_events({"question": "Count."}, version="v2")]
    chunks = [e["data"]["chunk"] for e in events if e["event"] == "on_chat_model_stream"]
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert "".join(chunk.text for chunk in chunks) == "One two three"
    assert "on_prompt_end" in {e["event"] for e in events}


async def test_history_comes_before_the_question(chain: Runnable, model: ModelServer) -> None:
    """What was said before reaches the model between the instructions and the question."""
    history = [("human", "My name is {Ada}."), ("ai", "Hello.")]
    await chain.ainvoke({"question": "Who am I?", "history": history})
    told = [(m["role"], m["content"]) for m in model.requests[-1]["messages"]]
    assert told[1:] == [
        ("user", "My name is {Ada}."),
        ("assistant", "Hello."),
        ("user", "Who am I?"),
    ]


async def test_an_answer_that_breaks_off_raises(chain: Runnable) -> None:
    """Half an answer is never taken for a whole one, neither sync nor async."""
    with pytest.raises(ModelError, match="broke off"):
        list(chain.stream({"question": "Break off."}))
    with pytest.raises(ModelError, match="broke off"):
        [piece async for piece in chain.astream({"question": "Break off."})]


@pytest.mark.parametrize(
    ("after_tokens", "limit"),
    [(2, "steady_model_idle_seconds"), (0, "steady_model_first_token_seconds")],
)
async def test_a_model_that_stalls_raises(
    model: ModelServer, after_tokens: int, limit: str
) -> None:
    """Silence past its limit, before the answer or in it, is told with the setting, both ways."""
    config = Settings.model_validate(
        {
            "openai_base_url": model.url,
            "openai_api_key": "test-key",
            "steady_model_retries": 0,
            "steady_model_idle_seconds": 0.4,
            limit: 0.5,
        }
    )
    chain = PROMPT | make_chat_model(config)
    model.on("Stall.", Reply(WORDS, fault=Fault("stall", after_tokens=after_tokens)))
    with pytest.raises(ModelError, match="went silent"):
        list(chain.stream({"question": "Stall."}))
    with pytest.raises(ModelError, match="went silent") as told:
        [piece async for piece in chain.astream({"question": "Stall."})]
    assert limit.upper() in str(told.value)


ENDLESS = "stream 100000 tokens at 50 per second"


def steady_chain(model: ModelServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "client.cli.main", "chain", *arguments],
        env={"PATH": "", **server_env(model.url)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("how", ["stream", "astream"])
def test_steady_chain_prints_the_answer(model: ModelServer, chain: Runnable, how: str) -> None:
    """`steady chain QUESTION --how stream|astream` prints the answer and ends with 0."""
    done = steady_chain(model, "Count.", "--how", how)
    assert (done.stdout, done.returncode) == ("One two three\n", 0)


def test_steady_chain_prints_events(model: ModelServer, chain: Runnable) -> None:
    """`--how events` prints one line for each event."""
    done = steady_chain(model, "Count.", "--how", "events")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("on_chain_start")
    assert any(line.startswith("on_chat_model_stream") and "'One'" in line for line in lines)


def test_steady_chain_tells_of_a_failure(model: ModelServer, chain: Runnable) -> None:
    """A model that fails is one line on stderr and exit code 1."""
    done = steady_chain(model, "fail 503")
    assert done.returncode == 1
    assert done.stderr.startswith("steady: The model endpoint")
    assert len(done.stderr.splitlines()) == 1


@contextmanager
def running_chain(model: ModelServer, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command in the middle of a long answer."""
    command = [sys.executable, "-m", "agent.chain", ENDLESS, "--how", how]
    with subprocess.Popen(
        command,
        env={"PATH": "", **server_env(model.url)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.read(5)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["stream", "astream", "events"])
def test_steady_chain_is_interrupted(model: ModelServer, how: str) -> None:
    """Ctrl-C ends it with 130, and without a word on stderr."""
    with running_chain(model, how) as process:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=100)
        assert (told, process.returncode) == (b"", 130)


@pytest.mark.parametrize("how", ["stream", "astream", "events"])
def test_steady_chain_into_a_pipe_that_closes(model: ModelServer, how: str) -> None:
    """What reads no further, as `head` does, ends it without a word on stderr."""
    with running_chain(model, how) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


def test_steady_chain_without_a_question(model: ModelServer) -> None:
    """An empty question is one line on stderr and exit code 2, and never reaches the model."""
    asked = len(model.requests)
    done = steady_chain(model, " ")
    assert (done.stderr, done.returncode) == ("steady: The question is empty: say something.\n", 2)
    assert len(model.requests) == asked
