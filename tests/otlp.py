"""An OpenTelemetry collector on a real socket: OTLP over HTTP, with protobuf."""

import asyncio
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Takes what is sent while the context is open."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metric_names = set[str]()
        self.services = set[str]()
        self.sent = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, body: bytes) -> None:
        self.sent += body
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.services |= {
                    it.value.string_value
                    for it in resource.resource.attributes
                    if it.key == "service.name"
                }
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            self.metric_names |= {
                metric.name
                for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
            }

    def kinds(self, trace_id: str) -> set[str]:
        """What the spans of a trace are: OpenInference's kinds, or a name of ours."""
        spans = [span for span in self.spans if span.trace_id.hex() == trace_id]
        return {span.name for span in spans} | {
            attribute.value.string_value
            for span in spans
            for attribute in span.attributes
            if attribute.key == "openinference.span.kind"
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


async def until(holds: Callable[[], bool]) -> None:
    """Returns when it holds. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while True:
            if holds():
                return
            await asyncio.sleep(0.1)
