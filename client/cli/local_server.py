"""A local server of the project on a free loopback port, for as long as a context is open."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from ..errors import CannotConnect, InvalidRequest

try:
    import fcntl
except ImportError:  # Windows, where no server holds a lock
    fcntl = None  # type: ignore[assignment]

JOBS = 10
START_SECONDS = 90.0
STOP_SECONDS = 10.0
_UVICORN_ENDS = "Application startup failed"  # its last line, after the one that says why
_QUIET = {
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGGRAPH_NO_VERSION_CHECK": "1",
    "LANGSMITH_TRACING": "false",
}


def running_server(folder: Path | None = None) -> str | None:
    """The URL of the server that runs on a folder, the project's by default; None if none does.

    A server holds a lock on its note for as long as it runs: a note without one is an old server's.
    One that is still starting is waited for, up to `START_SECONDS`.
    """
    if fcntl is None:
        return None
    note = (folder or find_config().parent) / ".langgraph_api" / "server.json"
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and _is_locked(note):
        try:
            url = str(json.loads(note.read_text(encoding="utf-8"))["url"])
            httpx.get(f"{url}/ok", timeout=2.0, trust_env=False)
            return url
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            time.sleep(0.1)
    return None


def _is_locked(note: Path) -> bool:
    try:
        with note.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def find_config(start: Path | None = None) -> Path:
    """The `langgraph.json` of this folder or one above it, else of the source tree beside us."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "langgraph.json").is_file():
            return folder / "langgraph.json"
    raise InvalidRequest(
        "A local server needs the steadystream repository, and there is no langgraph.json here or "
        "above: go to the repository's folder, or give --url."
    )


class LocalServer:
    """`langgraph dev` with `jobs` run slots, in a process of its own.

    `env` is added to this process's environment. `port` 0 takes a free one. `folder` is where the
    server keeps its files, and defaults to the project's. What it prints goes to `log`.
    """

    def __init__(
        self,
        config: Path | None = None,
        *,
        env: Mapping[str, str] | None = None,
        port: int = 0,
        folder: Path | None = None,
        jobs: int = JOBS,
    ) -> None:
        if find_spec("langgraph_cli") is None:
            raise InvalidRequest(
                "A local server needs the steadystream repository, and here the client is "
                "installed alone: run .venv/bin/steady of the repository, or give --url."
            )
        self._config = config or find_config()
        self._env = {**os.environ, **_QUIET, **(env or {})}
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._jobs = jobs
        self._folder = folder or self._config.parent
        descriptor, log = tempfile.mkstemp(prefix="steady-server-", suffix=".log")
        os.close(descriptor)
        self.log = Path(log)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, tick: Callable[[], None] = lambda: None) -> Self:
        """Starts it and waits until it answers, calling `tick` meanwhile. Raises CannotConnect."""
        search = os.pathsep.join(
            p for p in (str(self._config.parent), self._env.get("PYTHONPATH")) if p
        )
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command(),
                cwd=self._folder,
                env={**self._env, "PYTHONPATH": search},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(tick)
        except BaseException:
            self.stop()
            raise
        return self

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", f"{__package__}.serve"),
            *("--config", str(self._config), "--host", "127.0.0.1", "--port", str(self.port)),
            *("--n-jobs-per-worker", str(self._jobs), "--no-browser", "--no-reload"),
        ]

    def _wait_until_ready(self, tick: Callable[[], None]) -> None:
        end = time.monotonic() + START_SECONDS
        with httpx.Client(timeout=2.0, trust_env=False) as http:
            while time.monotonic() < end:
                tick()
                if self.process is None or self.process.poll() is not None:
                    raise CannotConnect(f"The local server ended at once: {self._last_words()}")
                try:
                    if http.get(f"{self.url}/ok").is_success:
                        return
                except httpx.TransportError:
                    pass
                time.sleep(0.05)
        raise CannotConnect(
            f"The local server was not ready in {START_SECONDS:g} s: see {self.log}"
        )

    def _last_words(self) -> str:
        text = self.log.read_text(errors="replace")
        lines = [line for line in text.splitlines() if line.strip() and _UVICORN_ENDS not in line]
        return f"{lines[-1].strip() if lines else 'it said nothing'} (all of it: {self.log})"

    def stop(self) -> None:
        """Ends it in order, so that it writes its files; kills it after `STOP_SECONDS`."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        self.process = None

    def kill(self) -> None:
        """Ends it without warning, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None:
            self.log.unlink(missing_ok=True)


def free_port() -> int:
    """A port on loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
