"""What other people's code may rely on: the names that `client` offers."""

import subprocess
import sys
from pathlib import Path

import client

ROOT = Path(client.__file__).parents[1]
NAMES = """
    JSON AgentClient AgentEvent Answer CannotConnect Checkpoint Conflict ConnectionLost Debug
    Done Error Event FirstEventTimedOut IdleTimedOut Interrupt InvalidRequest Limits Memories
    Memory Mode ModelFailed NotFound Progress RateLimited Reasoning Reconnect Retry Run
    RunError RunFailed RunLost RunOptions RunStarted RunTimedOut Runs ServerError SteadyError
    StreamLost StructuredResponse SyncAgentClient Task Threads Token ToolCall ToolCallDelta
    ToolFailed ToolResult Unauthorized Unavailable Update Usage Values from_json text_of to_json
"""


def test_the_public_names_are_these() -> None:
    """`client` offers exactly these names, in order: a change here is a change for users."""
    assert client.__all__ == NAMES.split()


def test_each_public_name_imports() -> None:
    """Each name is there, and says what it is."""
    assert [name for name in NAMES.split() if getattr(client, name, None) is None] == []


def test_importing_the_client_loads_no_server() -> None:
    """A script pays for the SDK only: no LangChain, no graph, no web framework."""
    heavy = {"agent", "langchain", "langgraph", "langchain_openai", "openai", "starlette"}
    assert heavy & loaded_by("import client; client.AgentClient") == set()


def test_the_names_are_shown_before_anything_is_loaded() -> None:
    """`dir` has the public names and the version, and neither it nor the import loads the SDK."""
    loaded = loaded_by("import client; assert 'AgentClient' in dir(client)")
    assert {"langgraph_sdk", "httpx", "orjson"} & loaded == set()
    assert dir(client) == sorted(["__version__", *NAMES.split()])


def test_an_event_needs_no_sdk() -> None:
    """What reads events only, such as a log's reader, loads nothing else."""
    script = "import client; client.from_json({'type': 'progress', 'data': 1})"
    assert {"langgraph_sdk", "httpx"} & loaded_by(script) == set()


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As of any module: `hasattr` and `from client import` work as people expect."""
    assert not hasattr(client, "Agent")


def loaded_by(script: str) -> set[str]:
    """The top packages that are loaded when a Python of its own has run these lines."""
    show = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", f"{script}; {show}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return set(done.stdout.decode().split())
