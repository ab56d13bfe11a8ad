"""Traces: a span of each run, step, model call and tool, sent to an OpenTelemetry collector.

OpenInference's instrumentation of LangChain makes them; its names are understood by Phoenix,
Langfuse and others. What people and the model said is left out, unless `STEADY_TRACE_CONTENT` is
set. LangSmith's own tracing, by its own variables, is independent of this.
"""

from importlib.util import find_spec

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import get_tracer_provider, set_tracer_provider

from agent.settings import settings
from agent.telemetry.export import resource, sends_to_collector

log = structlog.stdlib.get_logger(__name__)


def start_traces() -> None:
    """Has spans made and sent, where OpenTelemetry's variables name a collector; once in a process.

    A provider that the process was started with is left in place, and gets the spans.
    """
    if not sends_to_collector("TRACES"):
        return
    if find_spec("openinference.instrumentation.langchain") is None:
        log.warning("Traces need OpenInference: `pip install '.[telemetry]'`.")
        return
    if not isinstance(get_tracer_provider(), TracerProvider):
        provider = TracerProvider(resource=resource())
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        set_tracer_provider(provider)
    _instrument()


def _instrument() -> None:
    from openinference.instrumentation import TraceConfig  # an extra: not everybody has it
    from openinference.instrumentation.langchain import LangChainInstrumentor

    is_hidden = not settings().steady_trace_content
    config = TraceConfig(
        hide_inputs=is_hidden,
        hide_outputs=is_hidden,
        hide_llm_tools=is_hidden,
        hide_llm_invocation_parameters=is_hidden,
    )
    instrumentor = LangChainInstrumentor()
    if not instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.instrument(tracer_provider=get_tracer_provider(), config=config)


def stop_traces() -> None:
    """Sends what has not been sent."""
    if isinstance(provider := get_tracer_provider(), TracerProvider):
        provider.force_flush()
