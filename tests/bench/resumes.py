"""What it costs to join a long run at its end: bytes over the socket, and the server's CPU."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from client import AgentClient, Token
from client.cli.local_server import LocalServer, find_config
from tests.bench.contestants import OURS, ROOT, Contestant, environment
from tests.model_server import ModelServer
from tests.relay import ByteCounter

TIMES = 20  # a process's CPU time is told in hundredths


@dataclass(frozen=True)
class Resume:
    """One join of the run: from its beginning, and after its last token."""

    whole_kb: float
    whole_ms: float
    end_kb: float
    end_ms: float


def resume(tokens: int, model: ModelServer) -> Resume:
    """Of a run of as many tokens, on our server."""
    env = {**environment(model.url), "STEADY_LONGEST_ANSWER_CHARACTERS": str(20 * tokens)}
    with (
        TemporaryDirectory() as folder,
        LocalServer(find_config(ROOT), env=env, folder=Path(folder)) as server,
    ):
        return asyncio.run(_resume(tokens, server))


async def _resume(tokens: int, server: LocalServer) -> Resume:
    assert server.process
    ours = Contestant(OURS, server.url, psutil.Process(server.process.pid))
    async with ByteCounter(server.url) as counter, AgentClient(counter.url) as agent:
        after = ""
        async with agent.stream(f"stream {tokens} tokens") as run:
            async for event in run:
                if isinstance(event, Token):
                    after = str(run.last_event_id)

        where = str(run.thread_id), str(run.run_id)

        async def joined(last_event_id: str | None, times: int) -> tuple[float, float]:
            received, spent = counter.received, ours.cpu_seconds()
            for _ in range(times):
                async with agent.runs.join(*where, last_event_id) as again:
                    async for _ in again:
                        pass
            kilobytes = (counter.received - received) / 1000
            return kilobytes / times, 1000 * (ours.cpu_seconds() - spent) / times

        return Resume(*await joined(None, 2), *await joined(after, TIMES))
