"""A server, its model and the client on one machine, where the environment names proxies."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer

NOBODY = "127.0.0.1:9"
PROXIES = {
    "HTTP_PROXY": f"http://{NOBODY}",
    "HTTPS_PROXY": f"http://{NOBODY}",
    "ALL_PROXY": f"socks5://{NOBODY}",
    "NO_PROXY": "[::1],fd00::/8",
}


async def test_nothing_on_this_machine_goes_through_a_proxy(
    model: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies that lead nowhere, and exceptions that httpx cannot read, break no part of it."""
    for name, value in PROXIES.items():
        monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv(name, value)
    config = find_config(Path(__file__).parent)
    with LocalServer(config, env=server_env(model.url), folder=tmp_path) as server:
        async with AgentClient(server.url) as agent:
            assert await agent.stream("Hello?").text() == "You said: Hello?"
        command = [sys.executable, "-m", "client.cli.main", "run", "Hello?", "--url", server.url]
        options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60}
        run = await asyncio.to_thread(subprocess.run, command, cwd=config.parent, **options)
    assert (run.returncode, run.stdout) == (0, "You said: Hello?\n")
    assert "proxy" not in run.stderr.lower()
