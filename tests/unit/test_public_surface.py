"""What other people's code may rely on: the names that `client` offers."""

import subprocess
import sys
from pathlib import Path

import client

ROOT = Path(client.__file__).parents[1]
NAMES = """
    AgentClient AgentEvent CannotConnect Conflict ConnectionLost Done Error Event
    FirstEventTimedOut IdleTimedOut Interrupt InvalidRequest Limits Memory Mode ModelFailed
    NotFound Progress RateLimited Reasoning Reconnect Retry Run RunError RunFailed RunLost
    RunOptions RunStarted RunTimedOut ServerError SteadyError StreamLost Token ToolCall
    ToolCallDelta ToolFailed ToolResult Unauthorized Unavailable Update Usage Values to_json
"""


def test_the_public_names_are_these() -> None:
    """`client` offers exactly these names, in order: a change here is a change for users."""
    assert client.__all__ == sorted(NAMES.split())


def test_each_public_name_imports() -> None:
    """Each name is there, and says what it is."""
    assert [name for name in NAMES.split() if getattr(client, name, None) is None] == []


def test_importing_the_client_loads_no_server() -> None:
    """A script pays for the SDK only: no LangChain, no graph, no web framework."""
    script = "import sys, client; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    heavy = {"agent", "langchain", "langgraph", "langchain_openai", "openai", "starlette"}
    assert heavy & set(done.stdout.decode().split()) == set()
