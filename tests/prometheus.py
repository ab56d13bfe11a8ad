"""Reading `/metrics` as Prometheus does, and Prometheus itself."""

import asyncio
import math
import subprocess
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from client.cli.local_server import free_port

Labels = dict[str, str]

TELEMETRY = Path(__file__).parents[1] / "agent/telemetry"


class Scrape:
    """The samples of one answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.samples = defaultdict[str, list[tuple[Labels, float]]](list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.samples[sample.name].append((sample.labels, sample.value))

    @classmethod
    async def of(cls, url: str, headers: dict[str, str] | None = None) -> Self:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            answer = await http.get("/metrics", headers=headers or {})
            assert answer.status_code == 200, answer.text
            return cls(answer.text)

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        return sum(
            value
            for found, value in self.samples[name]
            if all(found.get(label) == wanted for label, wanted in labels.items())
        )


async def until(
    url: str, holds: Callable[[Scrape], bool], headers: dict[str, str] | None = None
) -> Scrape:
    """The first scrape of which `holds` is true. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while True:
            scrape = await Scrape.of(url, headers)
            if holds(scrape):
                return scrape
            await asyncio.sleep(0.1)


class Prometheus:
    """Debian's Prometheus with the configuration that the telemetry's README names.

    Only what cannot be the same is changed: it scrapes `target`, and every second.
    """

    def __init__(self, folder: Path, target: str) -> None:
        config = yaml.safe_load((TELEMETRY / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(TELEMETRY / name) for name in config["rule_files"]]
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
        self._folder = folder
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self.url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    async def ask(self, path: str, **query: str) -> Any:
        """What the API answers; None while Prometheus starts."""
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as http:
            try:
                answer = await http.get(f"/api/v1/{path}", params=query)
            except httpx.TransportError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                return None
        assert answer.status_code in (200, 503), answer.text
        return answer.json()["data"] if answer.is_success else None

    async def values(self, query: str) -> list[float]:
        """The numbers of an expression; what cannot be computed yet is left out."""
        data = await self.ask("query", query=query)
        found = [float(each["value"][1]) for each in data["result"]] if data else []
        return [value for value in found if not math.isnan(value)]
