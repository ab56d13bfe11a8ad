"""Several server processes on one PostgreSQL and one Redis, behind a plain TCP balancer."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

from client.cli.local_server import free_port
from tests.scale.balancer import Balancer
from tests.scale.storage import Postgres, Redis, missing

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = Path(os.environ.get("STEADY_SCALE_PYTHON", ROOT / ".venv-scale" / "bin" / "python"))
START_SECONDS = 180.0


def not_possible() -> str:
    """What has to be installed first; empty if nothing."""
    if not PYTHON.exists():
        return "the scale-out environment is missing: make scale-install"
    return missing()


class Process:
    """One server process. Started as the README starts it."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"server-{self.port}.log"
        self._folder = folder
        self.env = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        asked = ["agent.scale.server:app", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "uvicorn", *asked, "--timeout-graceful-shutdown", "3"],
                env=self.env,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
            while time.monotonic() < end and self.process and self.process.poll() is None:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{self.url}/ok")).is_success:
                        return
                await asyncio.sleep(0.1)
        raise RuntimeError(f"did not start: {self.log.read_text()[-3000:]}")

    async def output_of(self, module: str, *arguments: str) -> list[str]:
        """The lines that this module prints in the process's environment."""
        started = await asyncio.create_subprocess_exec(
            *(PYTHON, "-m", module, *arguments),
            cwd=ROOT,
            env=self.env,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await started.communicate()
        return output.decode().splitlines()

    async def end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            await asyncio.to_thread(self.process.wait, 30)
            self.process = None


class Cluster:
    """The storage, the processes and the balancer.

    Where it is `linked`, each process reaches PostgreSQL and Redis through two `links` of its own:
    hold them, and it is parted from its storage.
    """

    def __init__(self, folder: Path, env: Mapping[str, str], count: int, linked: bool) -> None:
        self.folder = folder
        self.postgres = Postgres(folder / "postgres")
        self.redis = Redis(folder / "redis")
        self.processes = [Process(folder, env) for _ in range(count)]
        self.balancer = Balancer([process.port for process in self.processes])
        self.links: dict[Process, list[Balancer]] = {process: [] for process in self.processes}
        self._linked = linked

    @property
    def url(self) -> str:
        return self.balancer.url

    async def start(self) -> None:
        await asyncio.to_thread(self.postgres.start)
        await asyncio.to_thread(self.redis.start)
        for process in self.processes:
            process.env["STEADY_LIMITS_STORAGE"] = self.redis.uri
            places = {"DATABASE_URI": self.postgres, "REDIS_URI": self.redis}
            for name, storage in places.items():
                port = storage.port
                if self._linked:
                    link = await Balancer([port]).start()
                    self.links[process].append(link)
                    port = link.port
                process.env[name] = storage.uri.replace(f":{storage.port}/", f":{port}/")
            process.start()
        for process in self.processes:
            await process.ready()
        await self.balancer.start()

    async def stop(self) -> None:
        await self.balancer.stop()
        for process in self.processes:
            await process.end(signal.SIGKILL)
        for link in itertools.chain(*self.links.values()):
            await link.stop()
        await asyncio.to_thread(self.redis.stop)
        await asyncio.to_thread(self.postgres.stop)


@contextlib.asynccontextmanager
async def running(
    folder: Path, env: Mapping[str, str], count: int, *, linked: bool = False
) -> AsyncIterator[Cluster]:
    """A cluster, for as long as the context is open."""
    cluster = Cluster(folder, env, count, linked)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()
