"""Fixtures that every kind of test shares: a scripted model, and a real server in front of it."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.model_server import ModelServer
from tests.users import KNOWS_TOKENS, NO_LIMITS

hypothesis_settings.register_profile("default", max_examples=200, deadline=None)
hypothesis_settings.register_profile("thorough", max_examples=2000, deadline=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # who starts us may ignore it: not our programs
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["STEADY_ENV_FILE"] = ""  # a developer's .env must not reach the tests


def server_env(model_url: str, **more: str) -> dict[str, str]:
    """The environment of a server whose model is at `model_url`."""
    told = {"OPENAI_BASE_URL": model_url, "OPENAI_API_KEY": "test-key"}
    return {**told, "STEADY_MODEL_RETRIES": "0", **more}  # a failure is tested once, not thrice


@pytest.fixture(scope="session")
def model() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def quiet_model(model: ModelServer) -> None:
    """The model speaks to nobody: what an earlier test left running has ended."""
    model.wait_for(lambda it: it.open_streams == 0, 100.0)


@pytest.fixture(scope="session")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A `langgraph dev` of this project, in a folder of its own, for the whole session."""
    folder = tmp_path_factory.mktemp("server")
    env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"))
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The same, of a server that knows its users by their tokens."""
    folder = tmp_path_factory.mktemp("guarded")
    env = server_env(model.url, **KNOWS_TOKENS, **NO_LIMITS)
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.fixture
async def agent(server: LocalServer) -> AsyncIterator[AgentClient]:
    async with AgentClient(server.url) as client:
        yield client
