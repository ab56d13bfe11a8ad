"""The model's process, seen from the one that needs it: started when first needed, once."""

import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agent.embedded.errors import WAYS_OUT, NotInstalled, StartFailed
from agent.embedded.weights import cache_folder, locate

ENGINE = "xllamacpp"
ENV_KEY = "STEADY_EMBEDDED_KEY"
ENV_GGUF = "STEADY_EMBEDDED_GGUF"
ENV_STATES = "STEADY_EMBEDDED_STATES"

START_SECONDS = 60.0
_STDERR_LINES = 12
_PACKAGE_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Address:
    """Where the model listens, and the key it wants."""

    port: int
    key: str


class Process:
    """Runs the model in a process that ends with this one, even when this one is killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._address: Address | None = None

    def address(self, gguf: Path | None = None) -> Address:
        """Start the model if it does not run, and return its address. Blocks for about a second.

        Raises EmbeddedError: NotInstalled, WeightsMissing, WeightsWrong or StartFailed.
        """
        with self._lock:
            if self._address is None or self._child is None or self._child.poll() is not None:
                self._address = self._start(locate(_installed(gguf)))
            return self._address

    def stop(self) -> None:
        """End the model's process; the next request starts it again."""
        with self._lock:
            if self._child is not None:
                self._child.kill()
                self._child.wait()

    def _start(self, gguf: Path) -> Address:
        key = secrets.token_urlsafe(32)
        self._child = child = _spawn(gguf, key)
        errors: deque[str] = deque(maxlen=_STDERR_LINES)
        if child.stdout is None or child.stderr is None:
            raise StartFailed("The embedded model's process has no standard output.")
        threading.Thread(target=_keep_last, args=(child.stderr, errors), daemon=True).start()
        # A start that hangs ends too: its standard output then ends without a port.
        watchdog = threading.Timer(START_SECONDS, child.kill)
        watchdog.start()
        try:
            line = child.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            child.wait()
            raise StartFailed(
                f"The embedded model did not start. Its last output: {_tail(errors)}\n{WAYS_OUT}"
            )
        return Address(json.loads(line)["port"], key)


def check(gguf: Path | None = None) -> None:
    """Raises EmbeddedError where the model could not be started."""
    locate(_installed(gguf))


def _installed(gguf: Path | None) -> Path | None:
    if importlib.util.find_spec(ENGINE) is None:
        raise NotInstalled(f"The embedded model's engine is not installed. {WAYS_OUT}")
    return gguf


def _spawn(gguf: Path, key: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {
        ENV_KEY: key,
        ENV_GGUF: str(gguf.resolve()),
        ENV_STATES: str(cache_folder() / "states"),
        # Threads that spin while they wait starve each other on a busy computer: 17 tokens a
        # second become 5.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")])
        ),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "agent.embedded"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # An interrupt at the terminal is for the parent, which decides how to end.
        start_new_session=True,
    )


def _keep_last(stream: IO[bytes], lines: deque[str]) -> None:
    with contextlib.suppress(ValueError):
        for line in stream:
            lines.append(line.decode(errors="replace").rstrip())


def _tail(lines: deque[str]) -> str:
    return "\n".join(lines) or "none"


PROCESS = Process()
