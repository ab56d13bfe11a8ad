"""What other people's code may rely on: names, and who imports whom."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import client

ROOT = Path(client.__file__).parent.parent
NAMES = """
    AgentClient AgentEvent CannotConnect Conflict Done Error Event FirstEventTimedOut Interrupt
    Limits Memory Mode ModelFailed NotFound Progress Reasoning Reconnect Refused RejectedInput Retry
    Run RunError RunFailed RunStarted RunTimedOut ServerError ServerGone SilenceTimedOut SteadyError
    RunLost StreamLost Token ToolCall ToolCallDelta ToolFailed ToolResult TooMany Unauthorized
    Update Usage Values to_json
"""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield str(node.module)


def test_the_public_names_are_these() -> None:
    """`client` offers exactly these names, in order: a change here is a change for users."""
    assert client.__all__ == sorted(NAMES.split())


@pytest.mark.parametrize("name", NAMES.split())
def test_each_public_name_imports(name: str) -> None:
    """Each name is there, and says what it is."""
    assert getattr(client, name) is not None


@pytest.mark.parametrize("path", sources("client"), ids=lambda p: p.name)
def test_client_never_imports_agent(path: Path) -> None:
    """The wire is the contract: the client knows nothing of the server's code."""
    assert [name for name in imported(path) if name.split(".")[0] in ("agent", "tests")] == []


@pytest.mark.parametrize("path", sources("agent"), ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_chat_imports_client(path: Path) -> None:
    """Of the server's code only the chat is a client of the server.

    Whether a decision fits is told once, by the client's pure check: the approval asks it, too.
    """
    found = {name for name in imported(path) if name.split(".")[0] in ("client", "tests")}
    where = path.relative_to(ROOT)
    pure = {"client.decisions", "client.errors"} if where == Path("agent/approval.py") else set()
    assert found <= pure or where == Path("agent/chat.py")


@pytest.mark.parametrize("package", ["agent", "client"])
def test_imports_run_one_way(package: str) -> None:
    """No two modules of a package need each other, directly or around a corner."""
    modules = {_name(path): path for path in sources(package)}
    needs = {
        name: {i for i in imported(path) if i in modules and i != name}
        for name, path in modules.items()
    }
    while free := [name for name, needed in needs.items() if not needed & needs.keys()]:
        for name in free:
            del needs[name]
    assert needs == {}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_importing_the_client_loads_no_server() -> None:
    """A script pays for the SDK only: no LangChain, no graph, no web framework."""
    script = "import sys, client; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    heavy = {"agent", "langchain", "langgraph", "langchain_openai", "openai", "starlette"}
    assert heavy & set(done.stdout.decode().split()) == set()


@pytest.mark.parametrize("path", sources("client") + sources("agent"), ids=lambda p: p.name)
def test_every_module_says_what_it_is(path: Path) -> None:
    """Each module that holds anything begins with a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree)
