"""The examples of the client's README, run as they are printed."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

import client
from client.cli.local_server import LocalServer

PAGE = Path(client.__file__).with_name("README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_examples() -> None:
    """There is something to run."""
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
async def test_an_example_runs(example: str, server: LocalServer) -> None:
    """Each example runs to its end against a real server, and prints an answer."""
    env = {**os.environ, "LANGGRAPH_URL": server.url}
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", example),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await running.communicate()
    assert (running.returncode, complaints.decode()) == (0, "")
    assert "You said" in said.decode() or "story" in said.decode()
