"""Several server processes on one PostgreSQL and one Redis, behind a plain TCP balancer."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx

from client.local import free_port
from tests.scale.storage import Postgres, Redis, missing

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = Path(os.environ.get("STEADY_SCALE_PYTHON", ROOT / ".venv-scale" / "bin" / "python"))
START_SECONDS = 90.0


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
        self._env = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        asked = ["agent.scale.server:app", "--host", "127.0.0.1", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [PYTHON, "-m", "uvicorn", *asked, "--timeout-graceful-shutdown", "3"],
                env=self._env,
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

    async def end(self, how: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            await asyncio.to_thread(self.process.wait, 30)
            self.process = None


class Balancer:
    """Takes connections and hands each to a process that takes it, in turn."""

    def __init__(self, processes: list[Process]) -> None:
        self._processes = processes
        self._next = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.url = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server:
            self._server.close()
            self.cut()
            await self._server.wait_closed()

    def cut(self) -> None:
        """Ends every connection that is open, without a word."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            away = await self._connected()
            if away is None:
                writer.transport.abort()
                return
            there_reader, there_writer = away
            self._open.add(there_writer)
            try:
                both = [_copy(reader, there_writer), _copy(there_reader, writer)]
                tasks = [asyncio.create_task(each) for each in both]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
            finally:
                there_writer.transport.abort()
                self._open.discard(there_writer)
        finally:
            writer.close()
            self._open.discard(writer)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._processes:
            self._next += 1
            port = self._processes[self._next % len(self._processes)].port
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        return None


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


class Cluster:
    """The storage, the processes and the balancer."""

    def __init__(self, folder: Path, env: Mapping[str, str], count: int) -> None:
        self.folder = folder
        self.postgres = Postgres(folder / "postgres")
        self.redis = Redis(folder / "redis")
        shared = {"DATABASE_URI": self.postgres.uri, "REDIS_URI": self.redis.uri}
        self.processes = [Process(folder, {**env, **shared}) for _ in range(count)]
        self.balancer = Balancer(self.processes)

    @property
    def url(self) -> str:
        return self.balancer.url

    async def start(self) -> None:
        await asyncio.to_thread(self.postgres.start)
        await asyncio.to_thread(self.redis.start)
        for process in self.processes:
            process.start()
        for process in self.processes:
            await process.ready()
        await self.balancer.start()

    async def stop(self) -> None:
        await self.balancer.stop()
        for process in self.processes:
            await process.end(signal.SIGKILL)
        await asyncio.to_thread(self.redis.stop)
        await asyncio.to_thread(self.postgres.stop)


@contextlib.asynccontextmanager
async def running(folder: Path, env: Mapping[str, str], count: int) -> AsyncIterator[Cluster]:
    """A cluster, for as long as the context is open."""
    cluster = Cluster(folder, env, count)
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()
