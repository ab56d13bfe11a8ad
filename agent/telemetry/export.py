"""Where the metrics go: to the server's own `/metrics`, and to an OpenTelemetry collector."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import environ

import structlog
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import get_meter_provider, set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource

from agent.telemetry import metrics

log = structlog.stdlib.get_logger(__name__)

LOOK_SECONDS = 0.25
_ENDPOINTS = "OTEL_EXPORTER_OTLP_{}ENDPOINT"


def start_metrics() -> None:
    """Has the instruments record; once in a process.

    `/metrics` shows the default registry of prometheus_client, which they join. A provider that
    the process was started with (`opentelemetry-instrument`) is left in place, and gets them all.
    """
    if isinstance(get_meter_provider(), MeterProvider):
        log.info("Metrics go where this process's own OpenTelemetry provider sends them.")
    else:
        readers: list[MetricReader] = [
            PrometheusMetricReader(disable_target_info=True, scope_info_enabled=False)
        ]
        if sends_to_collector("METRICS"):
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        set_meter_provider(MeterProvider(readers, resource()))
    metrics.begin_counters()


def stop_metrics() -> None:
    """Sends what has not been sent."""
    if isinstance(provider := get_meter_provider(), MeterProvider):
        provider.force_flush()


def sends_to_collector(signal: str) -> bool:
    """Whether OpenTelemetry's own variables name a collector for `METRICS` or `TRACES`."""
    is_off = environ.get(f"OTEL_{signal}_EXPORTER") == "none"
    names = (_ENDPOINTS.format(""), _ENDPOINTS.format(f"{signal}_"))
    return not is_off and any(environ.get(name) for name in names)


def resource() -> Resource:
    """What the telemetry is of; `OTEL_SERVICE_NAME` may name it otherwise."""
    return Resource.create({SERVICE_NAME: environ.get("OTEL_SERVICE_NAME") or metrics.NAME})


@asynccontextmanager
async def watched_loop() -> AsyncIterator[None]:
    """Measures, while the context is open, how late the event loop is."""
    task = asyncio.create_task(_measure_lag())
    try:
        yield
    finally:
        task.cancel()


async def _measure_lag() -> None:
    while True:
        due = time.monotonic() + LOOK_SECONDS
        await asyncio.sleep(LOOK_SECONDS)
        metrics.event_loop_lag.record(max(0.0, time.monotonic() - due))
