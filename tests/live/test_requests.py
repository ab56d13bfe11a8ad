"""Endpoints that look closely at what they are sent, and refuse what others take."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient, ModelFailed
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import Fault, ModelServer, RecordedRequest, Reply

JSON = dict[str, Any]


@pytest.fixture(scope="module")
def strict() -> Iterator[ModelServer]:
    """An endpoint that refuses what a test's `judge` finds."""
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def picky(strict: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    config = find_config(Path(__file__).parent)
    folder = tmp_path_factory.mktemp("picky")
    with LocalServer(config, env=server_env(strict.url), folder=folder) as running:
        yield running


@pytest.fixture
async def asking(picky: LocalServer, strict: ModelServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(picky.url) as client:
        yield client
    strict.judge = None


def refusal(text: str, **more: Any) -> tuple[int, JSON]:
    return 400, {"error": {"message": text, "type": "invalid_request_error", **more}}


def well_formed(request: RecordedRequest) -> tuple[int, JSON] | None:
    """As templates of Mistral and Gemma have it: roles alternate, nothing is empty or left open."""
    last, open_calls = "", set[str]()
    for message in request["messages"]:
        role = message["role"]
        if role == "tool":
            if not isinstance(message["content"], str) or message["tool_call_id"] not in open_calls:
                return refusal("Unexpected tool result")
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return refusal("Not the same number of function calls and responses")
        elif role == "user" and last == "user":
            return refusal("Conversation roles must alternate user/assistant/user/assistant/...")
        if role == "assistant":
            if not message.get("content") and not message.get("tool_calls"):
                return refusal("Assistant message must have either content or tool_calls")
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
        last = role
    return None


async def test_a_thread_is_usable_after_a_turn_that_failed(
    asking: AgentClient, strict: ModelServer
) -> None:
    """An endpoint that wants alternating roles answers the turn after one without an answer."""
    strict.judge = well_formed
    strict.on("It fails.", Reply("No.", fault=Fault("status", status=500)))
    run = asking.stream("It fails.")
    with pytest.raises(ModelFailed):
        await run.text()
    again = asking.stream("And now?", thread_id=run.thread_id)
    assert await again.text() == "You said: And now?"


async def test_a_thread_is_usable_after_an_empty_answer(
    asking: AgentClient, strict: ModelServer
) -> None:
    """An endpoint that refuses assistant messages without content answers the next turn."""
    strict.judge = well_formed
    strict.on("Say nothing.", Reply(""))
    run = asking.stream("Say nothing.")
    await run.text()
    again = asking.stream("And now?", thread_id=run.thread_id)
    assert await again.text() == "You said: And now?"


async def test_the_thread_itself_is_not_mended(asking: AgentClient, strict: ModelServer) -> None:
    """What the person asked is in the thread as it was, and nothing is added to it."""
    strict.on("It fails too.", Reply("No.", fault=Fault("status", status=500)))
    run = asking.stream("It fails too.")
    with pytest.raises(ModelFailed):
        await run.text()
    await asking.stream("And now?", thread_id=run.thread_id).text()
    messages = await asking.threads.messages(str(run.thread_id))
    assert [m["content"] for m in messages] == ["It fails too.", "And now?", "You said: And now?"]
