"""Who is measured: a server with a URL, a process whose CPU counts, and a way to read it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from client.cli.bench import Heard, post_stream, run_stream
from client.cli.local_server import LocalServer, find_config, free_port
from client.delivery.wire import Part

ROOT = find_config(Path(__file__).parent).parent
STOCK = Path(__file__).parent / "stock" / "langgraph.json"
OURS = "steadystream"
MANY_JOBS = 1000


@dataclass(frozen=True)
class Contestant:
    """A server that is measured; `cold_seconds` is how long it took until it answered."""

    name: str
    url: str
    process: psutil.Process
    kind: str = "langgraph"
    cold_seconds: float = 0.0

    async def ask(self, http: httpx.AsyncClient, question: str) -> Heard:
        """One stream, read in the way of its kind."""
        if self.kind == "langgraph":
            return await run_stream(http, "messages", question)
        if self.kind == "tutorial":
            return await post_stream(http, "/chat", {"message": question}, _said_by_tutorial)
        messages = [{"role": "user", "content": question}]
        body = {"model": "m", "stream": True, "messages": messages}
        return await post_stream(http, "/v1/chat/completions", body, _said_by_model)

    def cpu_seconds(self) -> float:
        """User and system time of the process and those that it started."""
        times = [p.cpu_times() for p in [self.process, *self.process.children(recursive=True)]]
        return sum(t.user + t.system for t in times)

    def memory_bytes(self) -> int:
        """Resident memory of the same."""
        return sum(
            p.memory_info().rss for p in [self.process, *self.process.children(recursive=True)]
        )


def _said_by_tutorial(part: Part) -> tuple[str, int]:
    text = part.data.get("token") or ""
    return text, text.count(" word")  # it reports no usage


def _said_by_model(part: Part) -> tuple[str, int]:
    if part.raw == b"[DONE]":
        return "", 0
    data = part.data
    choices = data["choices"]
    tokens = (data.get("usage") or {}).get("completion_tokens") or 0
    return (choices[0]["delta"].get("content") or "") if choices else "", tokens


def environment(model_url: str, **more: str) -> dict[str, str]:
    """What every contestant gets: the scripted model, and no settings of the machine's owner."""
    return {
        "OPENAI_BASE_URL": model_url,
        "OPENAI_API_KEY": "bench",
        "STEADY_ENV_FILE": "",
        "PYTHONPATH": str(ROOT),
        **more,
    }


@contextmanager
def scripted_model() -> Iterator[Contestant]:
    """The model that all of them talk to."""
    with _started([sys.executable, "-m", "tests.bench.model"], {}) as process:
        assert process.stdout
        url = process.stdout.readline().decode().strip()
        yield Contestant(
            "the model itself", url.removesuffix("/v1"), psutil.Process(process.pid), "model"
        )


@contextmanager
def langgraph_dev(name: str, config: Path, env: dict[str, str], jobs: int) -> Iterator[Contestant]:
    """A `langgraph dev` with that many jobs, in a folder of its own."""
    with TemporaryDirectory() as folder:
        began = time.perf_counter()
        with LocalServer(config, env=env, folder=Path(folder), jobs=jobs) as server:
            took = time.perf_counter() - began
            assert server.process
            process = psutil.Process(server.process.pid)
            yield Contestant(name, server.url, process, cold_seconds=took)


@contextmanager
def tutorial(env: dict[str, str]) -> Iterator[Contestant]:
    """The FastAPI route that tutorials teach."""
    port = free_port()
    command = [sys.executable, "-m", "tests.bench.tutorial", str(port)]
    with _started(command, env) as process, httpx.Client(trust_env=False) as http:
        url = f"http://127.0.0.1:{port}"
        while True:
            assert process.poll() is None, "the tutorial's server ended at once"
            try:
                if http.get(f"{url}/ok").is_success:
                    break
            except httpx.TransportError:
                continue
        yield Contestant("FastAPI tutorial", url, psutil.Process(process.pid), "tutorial")


@contextmanager
def all_servers(model_url: str, jobs: int) -> Iterator[dict[str, Contestant]]:
    """Every contestant that is a server, at once: they are measured in turns."""
    env = environment(model_url)
    ours = find_config(Path(__file__).parent)
    with ExitStack() as stack:
        made = [
            stack.enter_context(tutorial(env)),
            stack.enter_context(langgraph_dev("stock", STOCK, env, jobs)),
            stack.enter_context(langgraph_dev(OURS, ours, env, jobs)),
        ]
        yield {contestant.name: contestant for contestant in made}


@contextmanager
def with_and_without_telemetry(model_url: str, jobs: int) -> Iterator[list[Contestant]]:
    """Ours as it is, and ours without its telemetry, at once: they are measured in turns."""
    env = environment(model_url)
    config = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
    config["http"]["app"] = "tests.bench.without_telemetry:app"
    with ExitStack() as stack:
        without = Path(stack.enter_context(TemporaryDirectory())) / "langgraph.json"
        without.write_text(json.dumps(config), encoding="utf-8")
        yield [
            stack.enter_context(langgraph_dev("on", ROOT / "langgraph.json", env, jobs)),
            stack.enter_context(
                langgraph_dev("off", without, {**env, "OTEL_SDK_DISABLED": "true"}, jobs)
            ),
        ]


def ask_worker(module: str, *arguments: str, env: dict[str, str]) -> Any:
    """What a measuring process of its own prints."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, check=False, timeout=300
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr.decode()[-500:]}")
    return json.loads(done.stdout)


@contextmanager
def _started(command: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
