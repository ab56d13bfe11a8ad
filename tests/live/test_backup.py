"""A backup as `agent/storage/README.md` makes it, and what a server has after it is restored."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply
from tests.model_server import ToolCall as Call
from tests.scale.storage import Postgres, missing

ROOT = Path(__file__).parents[2]
CHAPTER = (ROOT / "agent/storage/README.md").read_text().split("## Back up and restore")[1]
COMMANDS = re.findall(r"((?:^    .+\n)+)", CHAPTER, re.MULTILINE)
FACT = "Ada likes tea."


def carry_out(commands: str, folder: Path, uri: str) -> None:
    """The commands as a person pastes them, in the folder of the server."""
    script = commands.replace(".venv/bin/python", sys.executable)
    env = {**os.environ, "STEADY_POSTGRES_URI": uri}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


async def test_a_folder_is_restored(model: ModelServer, tmp_path: Path) -> None:
    """Threads, what waits for a person, and memories are as they were when the copy was made."""
    backup, restore, *_ = COMMANDS
    await there_and_back(model, tmp_path, backup, restore)


@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_a_database_is_restored(model: ModelServer, tmp_path: Path) -> None:
    """The same, of threads that are in PostgreSQL."""
    *_, backup, restore = COMMANDS
    with Postgres(tmp_path / "postgres") as postgres:
        await there_and_back(model, tmp_path, backup, restore, postgres.uri)


async def there_and_back(
    model: ModelServer, folder: Path, backup: str, restore: str, uri: str = ""
) -> None:
    note = Call("save_note", {"title": "Tea", "text": "Buy some."})
    model.on("Note it, for the backup.", Reply(tool_calls=[note]), Reply("Noted."))
    model.on(
        "Remember it, for the backup.",
        Reply(tool_calls=[Call("remember", {"fact": FACT})]),
        Reply("I will."),
    )
    env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"), STEADY_POSTGRES_URI=uri)
    config = find_config(Path(__file__))
    with LocalServer(config, env=env, folder=folder) as server:
        async with AgentClient(server.url) as agent:
            run = agent.stream("Hello, backup.")
            await run.text()
            waiting = agent.stream("Note it, for the backup.")
            await waiting.text()
            await agent.stream("Remember it, for the backup.").text()
            carry_out(backup, folder, uri)
            await agent.stream("This is lost.", thread_id=run.thread_id).text()
            await agent.memories.forget_all()
    carry_out(restore, folder, uri)
    with LocalServer(config, env=env, folder=folder) as server:
        async with AgentClient(server.url) as agent:
            messages = await agent.threads.messages(str(run.thread_id))
            assert [m["content"] for m in messages] == [
                "Hello, backup.",
                "You said: Hello, backup.",
            ]
            assert [memory.text for memory in await agent.memories.list()] == [FACT]
            (interrupt,) = await agent.threads.interrupts(str(waiting.thread_id))
            rest = agent.decide(str(waiting.thread_id), interrupt.id, {"type": "approve"})
            assert await rest.text() == "Noted."
            again = agent.stream("And now?", thread_id=run.thread_id)
            assert await again.text() == "You said: And now?"
