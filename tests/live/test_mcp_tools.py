"""The tools of MCP servers, over both transports: used, approved, killed, slow, many."""

import asyncio
import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from client import AgentClient, Progress, Run, Token, ToolResult
from client.cli.local_server import LocalServer, find_config, free_port
from tests.conftest import server_env
from tests.mcp_server import PIXEL
from tests.model_server import ModelServer, Reply, ToolCall

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).parents[2]
SECRET = "a-secret-of-the-settings"
MORE = 100
PICTURE = base64.b64encode(PIXEL).decode()


def command(calls: Path, *more: str) -> list[str]:
    return ["-m", "tests.mcp_server", "--calls", str(calls), *more]


@contextmanager
def http_server(port: int, calls: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [sys.executable, *command(calls, "--port", str(port))]
    with subprocess.Popen(arguments, cwd=ROOT) as process:
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


class Servers:
    """An agent's server with MCP servers: `book` over stdio, `web` over HTTP, two dead.

    `frail`, over HTTP, is killed and started again.
    """

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        self.calls.touch()
        self.port, self.frail_port = free_port(), free_port()

    @property
    def setting(self) -> str:
        env = {"PYTHONPATH": str(ROOT), "KEY": SECRET}
        stdio: Any = {"command": sys.executable, "env": env}
        gone = f"http://127.0.0.1:{free_port()}/mcp?key={SECRET}"
        return json.dumps(
            {
                "book": {**stdio, "args": command(self.calls, "--tools", str(MORE))},
                "web": {
                    "url": f"http://127.0.0.1:{self.port}/mcp?key={SECRET}",
                    "headers": {"Authorization": f"Bearer {SECRET}"},
                    "approval": ["look_up"],
                },
                "slow": {**stdio, "args": command(self.calls, "--slow", "3600")},
                "frail": {"url": f"http://127.0.0.1:{self.frail_port}/mcp"},
                "gone": {"url": gone},
            }
        )

    def lines(self) -> list[str]:
        return self.calls.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Servers:
    return Servers(tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="module")
def frail(servers: Servers) -> Iterator[subprocess.Popen[bytes]]:
    with http_server(servers.frail_port, servers.calls) as process:
        yield process


@pytest.fixture(scope="module")
def local(
    model: ModelServer,
    servers: Servers,
    frail: subprocess.Popen[bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalServer]:
    env = server_env(model.url, STEADY_MCP_SERVERS=servers.setting)
    folder = tmp_path_factory.mktemp("with-mcp")
    with (
        http_server(servers.port, servers.calls),
        LocalServer(find_config(ROOT / "tests"), env=env, folder=folder) as running,
    ):
        yield running


@pytest.fixture
async def agent(local: LocalServer) -> Any:
    async with AgentClient(local.url) as client:
        yield client


def scripted(model: ModelServer, question: str, tool: str, **args: Any) -> str:
    model.on(question, Reply(tool_calls=[ToolCall(tool, args)]), Reply("It is done."))
    return question


async def told(run: Run) -> list[Any]:
    async with run:
        return [event async for event in run]


def results(events: list[Any]) -> list[tuple[str, str]]:
    return [(each.status, each.content) for each in events if isinstance(each, ToolResult)]


async def test_the_first_token_waits_for_no_server(agent: AgentClient, model: ModelServer) -> None:
    """A server that is down and one that never answers hold up nothing; the others' tools come."""
    events = await told(agent.stream("stream 5 tokens"))
    assert any(isinstance(event, Token) for event in events)
    for _ in range(300):
        await told(agent.stream("stream 1 tokens"))
        names = {tool["function"]["name"] for tool in model.requests[-1]["tools"]}
        if {"book_look_up", "web_look_up"} <= names:
            break
        await asyncio.sleep(0.1)
    assert {"calculate", f"book_more{MORE - 1}", "web_wipe"} <= names
    assert not [name for name in names if name.startswith(("slow", "gone"))]


async def test_a_tool_over_stdio(agent: AgentClient, model: ModelServer) -> None:
    """A call that reads is carried out at once; what it tells of its progress is an event."""
    question = scripted(model, "MCP counts.", "book_count", steps=3)
    events = await told(agent.stream(question))
    assert results(events) == [("ok", "number 1\nnumber 2\nnumber 3")]
    progress = [event.data for event in events if isinstance(event, Progress)]
    assert [(each["progress"], each["message"]) for each in progress] == [
        (1.0, "step 1"),
        (2.0, "step 2"),
        (3.0, "step 3"),
    ]


async def test_a_picture_reaches_model_and_person(agent: AgentClient, model: ModelServer) -> None:
    """It is in the event, on the thread, and in the next request; the text names it."""
    run = agent.stream(scripted(model, "MCP draws.", "web_draw"))
    events = await told(run)
    [drawn] = [event for event in events if isinstance(event, ToolResult)]
    picture = {"type": "image", "base64": PICTURE, "mime_type": "image/png"}
    assert (drawn.content, drawn.media) == ("[image]", [picture])
    [kept] = [m for m in await agent.threads.messages(str(run.thread_id)) if m["type"] == "tool"]
    assert kept["content"] == [{"type": "text", "text": "[image]"}, picture]
    *_, result, shown = model.requests[-1]["messages"]
    assert (result["role"], "[image]" in result["content"]) == ("tool", True)
    address = f"data:image/png;base64,{PICTURE}"
    assert shown["content"][1] == {"type": "image_url", "image_url": {"url": address}}


async def test_a_sound_is_a_file(agent: AgentClient, model: ModelServer) -> None:
    """A person can have it; the model is told of it."""
    events = await told(agent.stream(scripted(model, "MCP sings.", "web_sing")))
    [sung] = [event for event in events if isinstance(event, ToolResult)]
    assert (sung.status, sung.content) == ("ok", "La.\n[file: audio/wav]")
    assert sung.media == [{"type": "file", "base64": PICTURE, "mime_type": "audio/wav"}]


async def test_approval_by_annotation_and_by_name(
    agent: AgentClient, model: ModelServer, servers: Servers
) -> None:
    """A destructive tool waits, and one that the setting names; approved, it is done once."""
    run = agent.stream(scripted(model, "MCP wipes.", "book_wipe", name="disk"))
    await told(run)
    assert run.interrupts[0].requests["action_requests"][0]["name"] == "book_wipe"
    assert servers.lines() == []
    events = await told(run.decide([{"type": "approve"}]))
    assert results(events) == [("ok", "disk is gone.")]
    assert servers.lines() == ["wipe disk"]
    named = agent.stream(scripted(model, "MCP looks up.", "web_look_up", word="tea"))
    await told(named)
    events = await told(named.decide([{"type": "reject", "message": "No."}]))
    assert [status for status, _ in results(events)] == ["error"]


async def test_a_server_that_dies_in_a_call(
    agent: AgentClient, model: ModelServer, servers: Servers
) -> None:
    """The call is told as broken off and done once; the next one finds the server again."""
    events = await told(agent.stream(scripted(model, "MCP dies.", "book_die", name="a")))
    [(status, text)] = results(events)
    assert (status, "may or may not" in text) == ("error", True)
    assert servers.lines().count("die a") == 1
    again = await told(agent.stream(scripted(model, "MCP is back.", "book_look_up", word="tea")))
    assert results(again) == [("ok", "tea is in the book.")]


async def test_a_server_over_http_that_is_killed_in_a_call(
    agent: AgentClient, model: ModelServer, servers: Servers, frail: subprocess.Popen[bytes]
) -> None:
    """The call fails when its connection ends; the server that comes back is used again."""
    told_of = asyncio.create_task(
        told(agent.stream(scripted(model, "MCP hangs.", "frail_hang", name="b")))
    )
    while "hang b" not in servers.lines():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    frail.kill()
    [(status, text)] = results(await told_of)
    assert (status, "may or may not" in text) == ("error", True)
    with http_server(servers.frail_port, servers.calls):
        again = agent.stream(scripted(model, "It is back.", "frail_look_up", word="tea"))
        assert results(await told(again)) == [("ok", "tea is in the book.")]


def test_a_stopped_server_leaves_no_program(model: ModelServer, tmp_path: Path) -> None:
    """An MCP server's program that never answered ends with the server that started it."""
    calls = tmp_path / "calls"
    calls.touch()
    slow = {"command": sys.executable, "args": command(calls, "--slow", "3600")}
    setting = json.dumps({"slow": {**slow, "env": {"PYTHONPATH": str(ROOT)}}})
    env = server_env(model.url, STEADY_MCP_SERVERS=setting)
    with LocalServer(find_config(ROOT / "tests"), env=env, folder=tmp_path) as running:
        while not (programs := started(running, str(calls))):
            time.sleep(0.1)
    assert psutil.wait_procs(programs, timeout=60.0)[1] == []


def started(server: LocalServer, word: str) -> list[psutil.Process]:
    """The programs below the server whose command has this word."""
    below = psutil.Process(server.process.pid).children(recursive=True)
    return [each for each in below if word in each.cmdline()]


def test_no_secret_is_logged(local: LocalServer) -> None:
    """Nothing of a server's settings is in the log; a server that is down is one warning."""
    text = local.log.read_text(encoding="utf-8", errors="replace")
    assert SECRET not in text
    assert text.count("The MCP server gone does not answer") == 1
