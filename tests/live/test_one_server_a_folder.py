"""A folder has one server, and files that can be read, or the server says what to do."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client import CannotConnect
from client.cli.local_server import LocalServer, find_config, free_port, running_server
from tests.conftest import server_env
from tests.live.test_cli import steady
from tests.model_server import ModelServer

LISTS = ".langgraph_api/.langgraph_ops.pckl"
THREADS = ".langgraph_api/threads.sqlite"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder of its own."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(find_config(Path(__file__).parent), folder)
    return folder


def server_in(folder: Path, model: ModelServer) -> LocalServer:
    env = server_env(model.url, PYTHONPATH=str(Path(__file__).parents[2]))
    config = find_config(Path(__file__).parent)
    return LocalServer(config, env=env, folder=folder)


@pytest.fixture(scope="module")
def running(project: Path, model: ModelServer) -> Iterator[LocalServer]:
    with server_in(project, model) as server:
        yield server


def test_a_second_server_refuses_to_start(
    running: LocalServer, project: Path, model: ModelServer
) -> None:
    """The second one ends with one sentence that names the first, which goes on."""
    with pytest.raises(CannotConnect) as refused:
        server_in(project, model).start()
    assert "Another server runs on" in refused.value.message
    assert running.url in refused.value.message
    assert "Traceback" not in refused.value.message
    assert httpx.get(f"{running.url}/ok", timeout=60).json()["ok"] is True


def test_make_dev_refuses_a_folder_that_has_a_server(running: LocalServer, project: Path) -> None:
    """What `make dev` asks first says so in one line: a server under its reloader would not end."""
    check = (sys.executable, "-m", "client.cli.check_port", str(free_port()))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(check, capture_output=True, cwd=project, env=env, timeout=100)
    assert (done.returncode, done.stdout) == (1, b"")
    told = done.stderr.decode()
    assert (running.url in told, told.count("\n")) == (True, 1)


def test_the_log_names_the_model(running: LocalServer, model: ModelServer) -> None:
    """A server says at its start which model answers: settings are not read again after it."""
    origin = model.url.removesuffix("/v1")
    assert f"The model 'gpt-5-mini' at {origin} answers." in running.log.read_text()


def test_steady_uses_the_server_that_runs_here(running: LocalServer, project: Path) -> None:
    """Without --url, a command in the folder of a running server talks to that server."""
    assert running_server(project) == running.url
    ended = steady("run", "who is there?", cwd=project)
    assert ended.returncode == 0, ended.stderr
    assert "You said: who is there?" in ended.stdout
    assert running.url in ended.stderr


def test_a_killed_server_leaves_the_folder_free(tmp_path: Path, model: ModelServer) -> None:
    """After `kill -9` nothing runs there, whatever its note says, and another one starts."""
    server = server_in(tmp_path, model).start()
    server.kill()
    assert running_server(tmp_path) is None
    with server_in(tmp_path, model) as again:
        assert running_server(tmp_path) == again.url
    assert running_server(tmp_path) is None


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (LISTS, b"\x80\x04 this is no pickle"),
        (LISTS, pickle.dumps({"threads": ["x" * 5000]})[:2000]),
        (LISTS, pickle.dumps(["no", "lists"])),
        (THREADS, b"this is no database, but it is long enough to look like one" * 100),
        (THREADS, b"SQLite format 3\0" + b"\x99" * 5000),
    ],
    ids=["garbage list", "cut list", "another list", "garbage database", "damaged database"],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, model: ModelServer, file: str, content: bytes
) -> None:
    """The server does not start, says which file and what to do, and leaves the file as it is."""
    path = tmp_path / file
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CannotConnect) as refused:
        server_in(tmp_path, model).start()
    first_line = refused.value.message.partition("(all of it")[0]
    assert str(path) in first_line
    assert "move it away" in first_line
    assert "Traceback" not in first_line
    assert path.read_bytes() == content
