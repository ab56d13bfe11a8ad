"""PostgreSQL and Redis of a test's own, from Debian's packages, on free loopback ports."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from client.cli.local_server import free_port

START_SECONDS = 30.0


def missing() -> str:
    """What has to be installed first; empty if nothing."""
    if _postgres_bin() is None:
        return "PostgreSQL's server is not installed: apt-get install postgresql"
    if shutil.which("redis-server") is None:
        return "Redis is not installed: apt-get install redis-server"
    return ""


def _postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class _Server:
    """A process that can be ended, killed and started again on its port and files."""

    def __init__(self, folder: Path, user: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._user = user

    def command(self) -> Iterable[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command()), stdout=log, stderr=log, user=self._user, group=self._user
            )
        end = time.monotonic() + START_SECONDS
        while not self.ready():
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"did not start: {(self.folder / 'log').read_text()[-1000:]}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_SECONDS)
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Postgres(_Server):
    """It will not run as root, so there it is Debian's `postgres` user's, and its files are too.

    They lie in a folder of their own: those of tests are closed to other users, again and again.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "postgres" if os.geteuid() == 0 else None)
        self._bin = _postgres_bin() or Path()
        self._home = Path(tempfile.mkdtemp(prefix="steady-postgres-"))
        weakref.finalize(self, shutil.rmtree, self._home, ignore_errors=True)
        self._data = self._home / "data"
        if self._user:
            shutil.chown(self._home, self._user)
        subprocess.run(
            [
                self._bin / "initdb",
                *("-D", self._data, "-U", "steady", "--auth=trust", "-E", "UTF8", "--no-sync"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            group=self._user,
        )

    @property
    def uri(self) -> str:
        return f"postgresql://steady@127.0.0.1:{self.port}/postgres"

    def command(self) -> Iterable[str]:
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self._home}")
        options = [
            word for setting in (*settings, "max_connections=300") for word in ("-c", setting)
        ]
        yield from (str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port))
        yield from options

    def ready(self) -> bool:
        asked = ["-h", "127.0.0.1", "-p", str(self.port), "-q"]
        return subprocess.run([self._bin / "pg_isready", *asked], check=False).returncode == 0


class Redis(_Server):
    """It keeps each event, and the queue, on its disk."""

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        return f"redis://{self.place}/0"

    def command(self) -> Iterable[str]:
        yield from ("redis-server", "--port", str(self.port), "--bind", "127.0.0.1")
        yield from ("--dir", str(self.folder), "--save", "", "--appendonly", "yes")
        yield from ("--appendfsync", "everysec", "--stop-writes-on-bgsave-error", "no")

    def ready(self) -> bool:
        asked = ["redis-cli", "-p", str(self.port), "ping"]
        return b"PONG" in subprocess.run(asked, capture_output=True, check=False).stdout
