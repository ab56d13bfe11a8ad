"""Fixtures that every kind of test shares: a scripted model, and a real server in front of it."""

import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from xdist.scheduler import LoadFileScheduling

from client import AgentClient
from client.cli import local_server
from client.cli.local_server import LocalServer, find_config
from tests.model_server import ModelServer
from tests.users import KNOWS_TOKENS, NO_LIMITS

hypothesis_settings.register_profile("default", max_examples=200, deadline=None)
hypothesis_settings.register_profile("quick", max_examples=30, deadline=None)
hypothesis_settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # who starts us may ignore it: not our programs
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["STEADY_ENV_FILE"] = ""  # a developer's .env must not reach the tests


_places = list[socket.socket]()


def _free_port() -> int:
    """A port on loopback that, for as long as these tests run, no other program happens to take."""
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # so that who is told of it can
    place.bind(("127.0.0.1", 0))
    _places.append(place)
    return int(place.getsockname()[1])


local_server.free_port = _free_port  # until a server has started it has not taken its port


def server_env(model_url: str, **more: str) -> dict[str, str]:
    """The environment of a server whose model is at `model_url`."""
    told = {"OPENAI_BASE_URL": model_url, "OPENAI_API_KEY": "test-key"}
    return {**told, "STEADY_MODEL_RETRIES": "0", **more}  # a failure is tested once, not thrice


# The files that take longest, those first: one that begins last is what all workers wait for.
LONGEST = (
    "live/test_bench.py",
    "clients/test_use_stream.py",
    "scale/test_two_processes.py",
    "live/test_terminal.py",
    "browser/test_page.py",
    "faults/test_faults.py",
    "live/test_any_interrupt.py",
    "live/test_cli.py",
    "scale/test_matrix.py",
    "scale/test_rolling_restart.py",
    "live/test_wild_input.py",
    "browser/test_conversations.py",
    "live/test_endpoint_habits.py",
    "live/test_deployment.py",
    "live/test_foreign_graphs.py",
    "faults/test_compare.py",
    "live/test_killed_server.py",
    "live/test_shutdown.py",
    "live/test_one_server_a_folder.py",
    "live/test_installed.py",
    "faults/test_kills.py",
    "live/test_summaries.py",
    "live/test_chain.py",
    "live/test_model_trouble.py",
    "clients/test_mcp_server.py",
)
# Files that ask for the same servers, for one worker, which starts these once.
TOGETHER = {
    "cluster": (
        "scale/test_two_processes.py",
        "scale/test_faults.py",
        "scale/test_page.py",
    ),
    "graphs": (
        "live/test_any_interrupt.py",
        "live/test_audience.py",
        "live/test_plain_server.py",
        "live/test_nested_stops.py",
        "live/test_any_input.py",
    ),
    "retrying": (
        "clients/test_use_stream.py",
        "clients/test_protocol_runs.py",
        "browser/test_retry.py",
        "live/test_websocket.py",
        "live/test_sequences.py",
    ),
}
ROOT = Path(__file__).parent
HOW_TO_SKIP_NONE = (
    "To skip none: `apt-get install chromium-headless-shell postgresql redis-server npm prometheus "
    "haproxy libgomp1` and `make scale-install clients graphs model`."
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with the folder that it is in, and puts the longest files first."""
    place = {name: at for at, name in enumerate(LONGEST)}
    for item in items:
        item.add_marker(item.path.relative_to(ROOT).parts[0])
    items.sort(key=lambda it: place.get(str(it.path.relative_to(ROOT)), len(LONGEST)))


class ByServer(LoadFileScheduling):
    """A file's tests stay together, and so do files that ask for the same servers."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid).removeprefix("tests/")
        return next((name for name, files in TOGETHER.items() if file in files), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByServer | None:
    return ByServer(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """The last line of all says how to have the tests that this machine leaves out."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and (skipped := reporter.getreports("skipped")):
        reporter.write_line(f"{len(skipped)} tests were skipped. {HOW_TO_SKIP_NONE}")


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def quiet_model(model: ModelServer) -> None:
    """The model speaks to nobody: what an earlier test left running has ended."""
    model.hurry()
    model.wait_for(lambda it: it.open_streams == 0, 100.0)


@pytest.fixture(scope="session")
def saved_notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where `server` saves notes."""
    return tmp_path_factory.mktemp("server") / "notes"


@pytest.fixture(scope="session")
def server(model: ModelServer, saved_notes: Path) -> Iterator[LocalServer]:
    """A `langgraph dev` of this project, in a folder of its own, for the whole session."""
    env = server_env(model.url, STEADY_NOTES_DIR=str(saved_notes))
    with LocalServer(
        find_config(Path(__file__).parent), env=env, folder=saved_notes.parent
    ) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The same, of a server that knows its users by their tokens."""
    folder = tmp_path_factory.mktemp("guarded")
    env = server_env(model.url, **KNOWS_TOKENS, **NO_LIMITS)
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.fixture(scope="session")
def retrying(model: ModelServer, retrying_notes: Path) -> Iterator[LocalServer]:
    """The same, of a server that tries a model call once more."""
    env = server_env(model.url, STEADY_MODEL_RETRIES="1", STEADY_NOTES_DIR=str(retrying_notes))
    folder = retrying_notes.parent
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.fixture(scope="session")
def retrying_notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where `retrying` saves notes."""
    return tmp_path_factory.mktemp("retrying") / "notes"


@pytest.fixture
async def agent(server: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(server.url) as client:
        yield client
