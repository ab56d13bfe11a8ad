"""The Python snippets of the README, run against a real server."""

import asyncio
import os
import re
import sys
import textwrap
from pathlib import Path

from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply, ToolCall

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
IN_A_CLIENT = """
import asyncio
from client import AgentClient

async def main() -> None:
    async with AgentClient() as agent:
{}

asyncio.run(main())
"""


def snippet(chapter: str) -> str:
    return re.findall(r"```python\n(.*?)```", README.split(f"## {chapter}")[1], re.DOTALL)[0]


async def output_of(script: str, server: LocalServer) -> str:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env={**os.environ, "LANGGRAPH_URL": server.url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await running.communicate()
    assert (running.returncode, complaints.decode()) == (0, "")
    return output.decode()


async def test_the_client_in_ten_lines(server: LocalServer) -> None:
    """The ten lines print an answer."""
    script = snippet("The client in ten lines")
    assert "http://127.0.0.1:2024" in script
    output = await output_of(script.replace("http://127.0.0.1:2024", server.url), server)
    assert "You said: What is 17 * 23?" in output


async def test_a_person_in_the_loop(server: LocalServer, model: ModelServer) -> None:
    """The lines show what waits, approve it, and print the rest."""
    call = ToolCall("save_note", {"title": "Tea", "text": "Buy some."})
    model.on("Save a note called Tea: buy some.", Reply(tool_calls=(call,)), Reply("Saved it."))
    lines = textwrap.indent(snippet("A person in the loop"), " " * 8)
    output = await output_of(IN_A_CLIENT.format(lines), server)
    assert "'name': 'save_note'" in output
    assert "Saved it." in output
