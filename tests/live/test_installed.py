"""The client as people install it: the package `steadystream`, alone in a fresh environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from client.cli.local_server import LocalServer

pytestmark = pytest.mark.timeout(400)  # whichever is first builds and installs

ROOT = Path(__file__).parents[2]
MOST_BYTES = 80_000_000
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCRIPT = """
from steadystream import AgentClient, Done, SteadyError, Token


async def answer(question: str) -> str:
    async with AgentClient("http://127.0.0.1:2024") as agent, agent.stream(question) as run:
        async for event in run:
            match event:
                case Token(content=text):
                    print(text)
                case Done(status=status):
                    print(status)
        try:
            return await run.text()
        except SteadyError as error:
            return error.message
"""


class Installed:
    """A wheel of `client/`, in an environment beside a package that is named `client`, too."""

    def __init__(self, folder: Path) -> None:
        self._venv = folder / "venv"
        self.python = self._venv / "bin/python"
        self.steady = self._venv / "bin/steady"
        self.elsewhere = folder / "project"
        source = folder / "source"  # a build leaves files beside its source
        leave_out = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(ROOT / "client", source, ignore=leave_out)
        self._pip("wheel", "--no-deps", "--wheel-dir", folder, source)
        self.wheel = next(folder.glob("*.whl"))
        self._run(sys.executable, "-m", "venv", "--without-pip", self._venv)
        foreign = self.elsewhere / "client"
        foreign.mkdir(parents=True)
        (foreign / "__init__.py").write_text("WHOSE = 'theirs'\n")
        install = ("--python", self.python, "install")
        self._pip(*install, self.wheel)
        files = [path for path in self._venv.rglob("*") if path.is_file() and not path.is_symlink()]
        self.size_bytes = sum(path.stat().st_size for path in files)
        self._pip(*install, f"{self.wheel}[cli]")

    def run(self, *command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs a program in the other project's folder, with nothing of this repository."""
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
        return subprocess.run(
            command, cwd=self.elsewhere, env={**kept, **env},
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip

    def _pip(self, *arguments: str | Path) -> None:
        quietly = ("--quiet", "--disable-pip-version-check")
        self._run(sys.executable, "-m", "pip", *quietly, *arguments)

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        if "No matching distribution" in done.stderr and "CI" not in os.environ:
            pytest.skip("pip reaches no package index")
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_wheel_holds_the_client_alone(installed: Installed) -> None:
    """Every module of `client/` under `steadystream/`, the licence and `py.typed`: no `agent`."""
    with ZipFile(installed.wheel) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    ours = {f"steadystream/{p.relative_to(ROOT / 'client')}" for p in ROOT.glob("client/**/*.py")}
    assert files == ours | {"steadystream/py.typed"}


def test_it_is_small(installed: Installed) -> None:
    """With all that it needs, an environment of its own has at most 80 MB."""
    assert installed.size_bytes <= MOST_BYTES


def test_it_lives_beside_a_package_named_client(installed: Installed) -> None:
    """Both can be imported, and each is what it says."""
    script = "import client, steadystream; print(client.WHOSE, steadystream.AgentClient.__module__)"
    done = installed.run(installed.python, "-c", script)
    assert done.stdout == "theirs steadystream.client\n", done.stderr


def test_the_ten_lines_of_the_readme_run(installed: Installed, server: LocalServer) -> None:
    """The client's lines, with the name that people import it by, answer from a live server."""
    chapter = README.split("## The client in ten lines")[1]
    lines = re.findall(r"```python\n(.*?)```", chapter, re.DOTALL)[0]
    script = lines.replace("from client import", "from steadystream import")
    script = script.replace("http://127.0.0.1:2024", server.url)
    assert "from steadystream import" in script
    done = installed.run(installed.python, "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert "You said" in done.stdout


def test_scripts_are_type_checked(installed: Installed) -> None:
    """`mypy --strict` knows the types of what a script imports."""
    (installed.elsewhere / "right.py").write_text(SCRIPT)
    (installed.elsewhere / "wrong.py").write_text("from right import answer\n\nlater = answer(1)\n")
    where = ("--python-executable", installed.python, "--cache-dir", os.devnull)
    mypy = (sys.executable, "-m", "mypy", "--strict", *where)
    done = installed.run(*mypy, "right.py", "wrong.py")
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert [line.split(":")[0] for line in found] == ["wrong.py"], done.stdout
    assert "arg-type" in found[0]


def test_steady_runs_against_any_server(installed: Installed, server: LocalServer) -> None:
    """`steady run --url` streams, and `steady --version` tells the version of the package."""
    done = installed.run(installed.steady, "run", "hello", "--json", "--url", server.url)
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "success", done.stderr
    version = installed.wheel.name.split("-")[1]
    assert installed.run(installed.steady, "--version").stdout.split()[-1] == version


@pytest.mark.parametrize(
    "words",
    [
        ("run", "hello"),
        ("chain", "hello"),
        ("token", "ada"),
        ("model", "install"),
    ],
    ids=" ".join,
)
def test_what_needs_the_repository_says_so(installed: Installed, words: tuple[str, ...]) -> None:
    """What the server's side would do is one line that says what is missing, and exit code 2."""
    done = installed.run(installed.steady, *words)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "steadystream repository" in done.stderr
    assert done.stderr.count("\n") == 1
