"""The trace that a run belongs to: passed on from the request that asked for it."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

# In a run's `configurable`: the LangGraph server's own keys.
_KEYS = {"traceparent": "__otel_traceparent__", "tracestate": "__otel_tracestate__"}

_propagator = TraceContextTextMapPropagator()


def trace_headers() -> dict[str, str]:
    """The `traceparent` of the present span, as headers of a request; empty outside of a trace."""
    headers = dict[str, str]()
    _propagator.inject(headers)
    return headers


def keep_trace(configurable: MutableMapping[str, Any]) -> None:
    """Notes the present trace in a run's `configurable`, for the process that carries it out."""
    configurable.update({_KEYS[name]: value for name, value in trace_headers().items()})


@contextmanager
def callers_trace(headers: Mapping[str, str]) -> Iterator[None]:
    """Continues the trace whose `traceparent` a request brings, if it brings one."""
    with _continued(headers) if "traceparent" in headers else nullcontext():
        yield


@contextmanager
def run_context(configurable: Mapping[str, Any]) -> Iterator[None]:
    """Continues the trace that `configurable` names, unless one goes on already."""
    headers = {name: configurable[key] for name, key in _KEYS.items() if key in configurable}
    goes_on = trace.get_current_span().get_span_context().is_valid
    with nullcontext() if goes_on or not headers else _continued(headers):
        yield


@contextmanager
def _continued(headers: Mapping[str, str]) -> Iterator[None]:
    token = context.attach(_propagator.extract(headers))
    try:
        yield
    finally:
        context.detach(token)
