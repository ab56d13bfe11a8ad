"""Reading `/metrics` as Prometheus does."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

Labels = dict[str, str]


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
    async with asyncio.timeout(30):
        while True:
            scrape = await Scrape.of(url, headers)
            if holds(scrape):
                return scrape
            await asyncio.sleep(0.1)
