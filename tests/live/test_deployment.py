"""The README's three ways to deploy, each started as it is written there, on free ports."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from client import AgentClient, Token, Unauthorized
from client.cli.local_server import free_port
from tests.model_server import ModelServer, Reply
from tests.scale.storage import Postgres, Redis, missing

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 120.0
PSQL = "sudo -u postgres psql"
ANYWHERE = "0.0.0.0"  # noqa: S104 - what the README says, and what is not done here


def commands(rung: str) -> str:
    """The commands under the rung's heading."""
    section = (ROOT / "README.md").read_text().partition(f"**{rung}.**")[2]
    block = re.search(r"(?:^    .*\n)+", section, re.MULTILINE)
    assert block, rung
    return re.sub(r"^    ", "", block[0], flags=re.MULTILINE)


def needs(*places: str) -> None:
    reasons = [missing(), *(f"make has not set up {p}" for p in places if not (ROOT / p).exists())]
    if reason := next(filter(None, reasons), ""):
        assert "CI" not in os.environ, reason
        pytest.skip(reason)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the README says of PostgreSQL and Redis, and what is said here.

    The role and the database are made as written there, by a superuser whose name is the role's.
    """
    needs()
    folder = tmp_path_factory.mktemp("storage")
    with Postgres(folder / "postgres") as postgres, Redis(folder / "redis") as redis:
        making, _, _ = commands("On one server").partition("\n")
        assert making.startswith(PSQL)
        making = making.replace(PSQL, f"psql --quiet {postgres.uri}")
        for before in ("role", "owner"):
            making = making.replace(f"{before} steady", f"{before} deployer")
        subprocess.run(["bash", "-e", "-c", making], check=True)
        yield {
            "steady:choose-one@127.0.0.1:5432": f"deployer:choose-one@127.0.0.1:{postgres.port}",
            "127.0.0.1:6379": redis.place,
        }


@contextmanager
def started(
    script: str, env: Mapping[str, str], ports: list[int], end_with: signal.Signals = signal.SIGTERM
) -> Iterator[None]:
    """The commands, in a shell of their own, until the context ends."""
    process = subprocess.Popen(
        ["bash", "-e", "-c", f"{script}\nwait"],
        cwd=ROOT,
        env={**os.environ, **env, "STEADY_ENV_FILE": ""},
        start_new_session=True,
    )
    try:
        end = time.monotonic() + START_SECONDS
        for port in ports:
            while not answers(port):
                assert process.poll() is None, "it ended at once"
                assert time.monotonic() < end, f"nothing answers on {port}"
                time.sleep(0.2)
        yield
    finally:
        for ending in (end_with, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, ending)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)


def token_of(user: str, secret: str) -> str:
    """As the README has it made."""
    env = {**os.environ, "STEADY_JWT_SECRET": secret}
    made = [ROOT / ".venv/bin/steady", "token", user]
    return subprocess.run(made, env=env, capture_output=True, text=True, check=True).stdout.strip()


def answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/ok", timeout=2).is_success
    return False


def model_env(model: ModelServer, folder: Path) -> dict[str, str]:
    env = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "test-key"}
    return {**env, "STEADY_THREADS_FILE": str(folder / "threads.sqlite")}


@pytest.mark.timeout(200)
async def test_on_a_laptop(model: ModelServer, tmp_path: Path) -> None:
    """`make dev` answers without a token."""
    needs(".venv/.ready")
    port = free_port()
    script = f"{commands('On a laptop').strip()} PORT={port}"
    with started(script, model_env(model, tmp_path), [port]):
        async with AgentClient(f"http://127.0.0.1:{port}", token="") as agent:
            assert await agent.stream("Here?").text() == "You said: Here?"


@pytest.mark.timeout(200)
async def test_on_one_server(model: ModelServer, tmp_path: Path, storage: dict[str, str]) -> None:
    """It wants a token, and keeps threads in PostgreSQL over `kill -9`."""
    needs(".venv/.ready")
    port, secret = free_port(), "a secret of this test's, long enough for HS256"
    _, _, script = commands("On one server").partition("\n")
    for there, here in {ANYWHERE: "127.0.0.1", "2024": str(port), **storage}.items():
        assert there in script or there == "127.0.0.1:6379"
        script = script.replace(there, here)
    script = script.replace("$(openssl rand -hex 32)", shlex.quote(secret))
    token = token_of("ada", secret)
    url = f"http://127.0.0.1:{port}"
    with started(script, model_env(model, tmp_path), [port], signal.SIGKILL):
        async with AgentClient(url, token="") as nobody:
            with pytest.raises(Unauthorized):
                await nobody.threads.list()
        async with AgentClient(url, token=token) as agent:
            run = agent.stream("There?")
            assert await run.text() == "You said: There?"
    with started(script, model_env(model, tmp_path), [port]):
        async with AgentClient(url, token=token) as agent:
            assert len(await agent.threads.messages(str(run.thread_id))) == 2
    assert not (tmp_path / "threads.sqlite").exists()


@pytest.mark.timeout(300)
async def test_on_many(model: ModelServer, tmp_path: Path, storage: dict[str, str]) -> None:
    """A run that was begun at one process is read at the other."""
    needs(".venv-scale/.ready")
    ports = [free_port(), free_port()]
    script = commands("On many")
    for there, here in {"2026": str(ports[0]), "2027": str(ports[1]), **storage}.items():
        assert there in script
        script = script.replace(there, here)
    model.on("Everywhere?", Reply("On every process, word by word.", tokens_per_second=10.0))
    with started(script, model_env(model, tmp_path), ports):
        one, other = (AgentClient(f"http://127.0.0.1:{port}", token="") for port in ports)
        async with one, other, one.stream("Everywhere?") as run:
            async for event in run:
                if isinstance(event, Token):
                    break
            joined = other.runs.join(str(run.thread_id), str(run.run_id))
            texts = await asyncio.gather(run.text(), joined.text())
        assert texts == ["On every process, word by word."] * 2
