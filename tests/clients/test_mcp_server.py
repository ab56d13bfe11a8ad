"""The reference MCP server of the protocol's makers, from npm, over both transports."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from client import AgentClient, Progress, Run, ToolResult
from client.cli.local_server import LocalServer, find_config, free_port
from tests.clients.environments import HERE, needs, node
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall

pytestmark = pytest.mark.timeout(240)
PROGRAM = HERE / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
STDIO, HTTP = "here", "there"  # the servers' names
LONG = {"duration": 60, "steps": 240}


class OverHttp:
    """The server that speaks Streamable HTTP, on one port, however often it is started."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {**os.environ, "PORT": str(self.port)}
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([node(), str(PROGRAM), "streamableHttp"], env=env, **quiet)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                httpx.get(self.url, trust_env=False)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        pytest.fail("The MCP server did not start.")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class OverStdio:
    """The server that each call starts anew; a shell notes its process."""

    def __init__(self, folder: Path) -> None:
        self._note = folder / "pid"

    @property
    def setting(self) -> dict[str, Any]:
        script = f'echo $$ >"{self._note}"; exec "{node()}" "{PROGRAM}" stdio'
        return {"command": "/bin/sh", "args": ["-c", script], "approval": ["echo"]}

    def kill(self) -> None:
        os.kill(int(self._note.read_text()), signal.SIGKILL)

    def start(self) -> None:
        """The next call does."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    needs(PROGRAM)
    web = OverHttp()
    web.start()
    yield {STDIO: OverStdio(tmp_path_factory.mktemp("mcp")), HTTP: web}
    web.kill()


@pytest.fixture(scope="module")
def local(
    model: ModelServer, servers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    setting = {STDIO: servers[STDIO].setting, HTTP: {"url": servers[HTTP].url}}
    env = server_env(model.url, STEADY_MCP_SERVERS=json.dumps(setting), STEADY_TOOL_SECONDS="60")
    folder = tmp_path_factory.mktemp("with-mcp")
    with LocalServer(find_config(HERE), env=env, folder=folder) as running:
        yield running


@pytest.fixture
async def agent(local: LocalServer) -> Any:
    async with AgentClient(local.url) as client:
        yield client


def calls(agent: AgentClient, model: ModelServer, tool: str, **args: Any) -> Run:
    question = f"Call {tool} with {args}."
    model.on(question, Reply(tool_calls=[ToolCall(tool, args)]), Reply("It is done."))
    return agent.stream(question)


async def read(run: Run) -> list[Any]:
    async with run:
        return [event async for event in run]


def result(events: list[Any]) -> tuple[str, str]:
    [found] = [event for event in events if isinstance(event, ToolResult)]
    return found.status, found.content


@pytest.mark.parametrize("server", [STDIO, HTTP])
class TestEach:
    """What holds over both transports."""

    async def test_its_tools_are_used(
        self, agent: AgentClient, model: ModelServer, server: str
    ) -> None:
        """The model is offered them under the server's name; a call brings its result."""
        status, text = result(await read(calls(agent, model, f"{server}_get-sum", a=17, b=23)))
        assert status == "ok"
        assert "40" in text
        names = {tool["function"]["name"] for tool in model.requests[-1]["tools"]}
        assert {"calculate", f"{server}_echo", f"{server}_get-tiny-image"} <= names

    async def test_pictures_and_lists(
        self, agent: AgentClient, model: ModelServer, server: str
    ) -> None:
        """Texts come as they are, in order; a picture or a link has its line, and its bytes."""
        status, text = result(await read(calls(agent, model, f"{server}_get-tiny-image")))
        assert status == "ok"
        first, picture, last = text.split("\n")
        assert (first, last) == (
            "Here's the image you requested:",
            "The image above is the MCP logo.",
        )
        assert picture == "[image]"
        links = calls(agent, model, f"{server}_get-resource-links", count=3)
        _, text = result(await read(links))
        assert len(text.split("\n")) == 4
        weather = calls(agent, model, f"{server}_get-structured-content", location="Chicago")
        _, text = result(await read(weather))
        assert json.loads(text)["humidity"] == 82

    async def test_it_tells_its_progress(
        self, agent: AgentClient, model: ModelServer, server: str
    ) -> None:
        """A slow call's steps are events, in order."""
        tool = f"{server}_trigger-long-running-operation"
        events = await read(calls(agent, model, tool, duration=1, steps=4))
        assert result(events)[0] == "ok"
        steps = [event.data["progress"] for event in events if isinstance(event, Progress)]
        assert steps == [1, 2, 3, 4]

    async def test_what_it_refuses_is_told(
        self, agent: AgentClient, model: ModelServer, server: str
    ) -> None:
        """Arguments that do not fit are the call's error, and the run goes on."""
        events = await read(calls(agent, model, f"{server}_get-sum", a="seventeen", b=2))
        assert result(events)[0] == "error"
        assert events[-1].status == "success"

    async def test_it_dies_in_the_middle_of_a_call(
        self, agent: AgentClient, model: ModelServer, servers: dict[str, Any], server: str
    ) -> None:
        """The call is an error when its connection ends; the next one finds the server."""
        run = calls(agent, model, f"{server}_trigger-long-running-operation", **LONG)
        events = []
        async with run:
            async for event in run:
                is_first = not any(isinstance(each, Progress) for each in events)
                events.append(event)
                if isinstance(event, Progress) and is_first:
                    servers[server].kill()
        status, text = result(events)
        assert status == "error"
        assert "may or may not" in text
        assert events[-1].status == "success"
        servers[server].start()
        again = await read(calls(agent, model, f"{server}_get-sum", a=1, b=2))
        assert result(again)[0] == "ok"


async def test_approval_by_name(agent: AgentClient, model: ModelServer) -> None:
    """A tool that the setting names waits for a person, and its arguments can be edited."""
    tool = f"{STDIO}_echo"
    run = calls(agent, model, tool, message="one")
    await read(run)
    assert run.interrupts[0].requests["action_requests"][0]["name"] == tool
    edited = {"name": tool, "args": {"message": "two"}}
    events = await read(run.decide([{"type": "edit", "edited_action": edited}]))
    status, text = result(events)
    assert (status, text.endswith("Echo: two")) == ("ok", True)
