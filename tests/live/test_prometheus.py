"""Debian's Prometheus reads a real server: the dashboard and the alerts have something to show."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import yaml

from client import AgentClient, ModelFailed, Token
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import Fault, ModelServer, Reply
from tests.prometheus import TELEMETRY, Prometheus
from tests.sse_reader import ask, opened

ROOT = TELEMETRY.parents[1]
WINDOWS = {"$__rate_interval": "1m", "$__range": "15m"}  # what Grafana puts in their place
QUICK, SLOW = (f"stream 40 tokens at {rate} per second" for rate in (40, 8))


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Skips where Prometheus is missing, but never in CI."""
    if shutil.which("prometheus") is None:
        assert "CI" not in os.environ, "apt-get install prometheus"
        pytest.skip("Prometheus is not installed: apt-get install prometheus")


@pytest.fixture(scope="module")
def loaded(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that tries a model that fails once more."""
    env = server_env(model.url) | {"STEADY_MODEL_RETRIES": "1"}
    folder = tmp_path_factory.mktemp("loaded")
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(
    loaded: LocalServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with Prometheus(folder, loaded.url.removeprefix("http://")) as running:
        yield running


def dashboard_queries() -> list[str]:
    text = (TELEMETRY / "dashboard.json").read_text(encoding="utf-8")
    for variable, window in WINDOWS.items():
        text = text.replace(variable, window)
    return [target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]]


def alert_expressions() -> list[str]:
    """What each alert looks at, without the number that it is compared with."""
    (group,) = yaml.safe_load((TELEMETRY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [re.split(r"\s[<>]=?\s", rule["expr"])[0] for rule in group["rules"]]


async def heal_a_cut(server: LocalServer) -> None:
    """A reader leaves a stream, and comes back for the rest."""
    async with opened(server.url, "/agent/stream", {"message": SLOW}) as stream:
        for _ in range(5):
            await anext(stream)
    headers = {"Last-Event-ID": stream.last_event_id}
    await ask(server.url, "/agent/stream", {"message": SLOW}, headers)


@asynccontextmanager
async def load(server: LocalServer, model: ModelServer) -> AsyncIterator[None]:
    """A small load while the context is open: answers, a retry, a failure, a stop, a healed cut."""
    model.on("Refused under load.", Reply(fault=Fault(status=401)))

    async def for_ever() -> None:
        async with AgentClient(server.url) as agent:
            while True:
                await agent.stream(QUICK).text()
                model.on("Cut under load.", Reply("Here.", fails=[Fault("disconnect")]))
                await agent.stream("Cut under load.").text()
                with suppress(ModelFailed):
                    await agent.stream("Refused under load.").text()
                async with agent.stream("stream 900 tokens at 30 per second") as run:
                    async for event in run:
                        if isinstance(event, Token):
                            await run.stop()
                await heal_a_cut(server)

    task = asyncio.create_task(for_ever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(prometheus: Prometheus, query: str, holds: Callable[[float], bool]) -> None:
    async with asyncio.timeout(60):
        while True:
            if any(map(holds, await prometheus.values(query))):
                return
            await asyncio.sleep(0.2)


async def test_the_first_healed_cut_is_to_be_seen(
    prometheus: Prometheus, loaded: LocalServer
) -> None:
    """A counter is there before it counts: else its first step is none for Prometheus."""
    await until(prometheus, 'up{job="steadystream"}', lambda it: it == 1)
    await heal_a_cut(loaded)
    await until(prometheus, "sum(increase(steady_streams_healed_total[1m]))", lambda it: it > 0)


async def test_each_query_and_each_alert_has_data(
    prometheus: Prometheus, loaded: LocalServer, model: ModelServer
) -> None:
    """Under a load, each query of the dashboard and each alert's expression is a number."""
    empty = {*dashboard_queries(), *alert_expressions()}
    async with load(loaded, model):
        with suppress(TimeoutError):
            async with asyncio.timeout(90):
                while True:
                    empty -= {query for query in empty if await prometheus.values(query)}
                    if not empty:
                        break
                    await asyncio.sleep(0.5)
    assert empty == set()


async def test_the_alerts_are_loaded_and_healthy(prometheus: Prometheus) -> None:
    """Prometheus evaluates each rule of the file that its configuration names."""
    async with asyncio.timeout(60):
        while True:
            rules = [
                each
                for group in ((await prometheus.ask("rules")) or {"groups": []})["groups"]
                for each in group["rules"]
            ]
            if rules and all(rule["health"] != "unknown" for rule in rules):
                break
            await asyncio.sleep(0.2)
    assert {rule["health"] for rule in rules} == {"ok"}
    assert len(rules) == len(alert_expressions())


@pytest.mark.parametrize(
    "words",
    [
        ("check", "config", "agent/telemetry/prometheus.yml"),
        ("check", "config", "--syntax-only", "agent/scale/prometheus.yml"),
        ("check", "rules", "--lint-fatal", "agent/telemetry/alerts.yml"),
        ("test", "rules", "tests/unit/alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_takes_them(words: tuple[str, ...]) -> None:
    """Configuration and rules are valid; each alert fires when it should, and not before."""
    done = subprocess.run(["promtool", *words], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
