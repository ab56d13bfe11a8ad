"""A run and its model calls: how long they take, and when the first token comes."""

import asyncio
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

from agent.telemetry import metrics

# Milliseconds since 1970, in a run's `configurable`: the LangGraph server's own key.
REQUEST_START = "__request_start_time_ms__"
_LONGEST_WAIT_SECONDS = 24 * 3600.0

# By id: whoever iterates over a run's stream may use a task, with its own context, for each step,
# so that a context variable would be lost between the run and its steps.
_runs = dict[str, "MeasuredRun"]()
_present: ContextVar["MeasuredRun | None"] = ContextVar("measured_run", default=None)


class MeasuredRun:
    """Measures what happens in the context as one run of the graph named `name`.

    `config` is the run's: its `configurable` has its id, and may say when the run was asked for.
    Graphs that a run calls are part of it.
    """

    def __init__(self, name: str, config: Mapping[str, Any] | None = None) -> None:
        self.name = name
        configurable = (config or {}).get("configurable") or {}
        self._id = str(configurable.get("run_id") or uuid.uuid4())
        self._waited_seconds = _waited_seconds(configurable)
        self._start = time.monotonic() - (self._waited_seconds or 0.0)
        self._has_first_token = self._goes_on = False

    @contextmanager
    def calls(self) -> Iterator[None]:
        """The model calls that begin while the context is open are the run's."""
        token = _present.set(self)
        try:
            yield
        finally:
            with suppress(ValueError):  # a generator may be closed in another context than its own
                _present.reset(token)

    def __enter__(self) -> Self:
        _runs.setdefault(self._id, self)
        return self

    def begin(self, *, is_continued: bool) -> None:
        """The first step is due. A run that another server had begun is not measured as a new one:
        its reader may have had the first token long ago."""
        if is_continued:
            self._has_first_token = True
            metrics.runs_continued.add(1)
        elif self._waited_seconds is not None and self._is_outermost:
            metrics.queue_wait.record(self._waited_seconds, {metrics.AGENT: self.name})

    def leave(self) -> None:
        """The run goes on elsewhere: its end is not here."""
        self._goes_on = True

    def first_token(self, model: str) -> None:
        """A token of `model` has come; only the run's first counts."""
        if not self._has_first_token:
            self._has_first_token = True
            metrics.time_to_first_token.record(
                time.monotonic() - self._start,
                {metrics.AGENT: self.name, metrics.OPERATION: "invoke_agent", metrics.MODEL: model},
            )

    @property
    def _is_outermost(self) -> bool:
        return _runs.get(self._id) is self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_outermost:
            return
        del _runs[self._id]
        if self._goes_on:
            return
        if kind is not None and _is_stop(kind):
            metrics.runs_stopped.add(1)
        labels = {metrics.AGENT: self.name, metrics.OPERATION: "invoke_agent", **_error(kind)}
        metrics.request_duration.record(time.monotonic() - self._start, labels)


@contextmanager
def model_calls_of(config: Mapping[str, Any]) -> Iterator[None]:
    """The model calls in the context belong to the run whose config this is."""
    run = _runs.get(str((config.get("configurable") or {}).get("run_id")))
    if run is None:
        yield
        return
    with run.calls():
        yield


class MeasuredCall:
    """Measures one call of the model named `model`."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._run = _present.get()
        self._first: float | None = None
        self._last = 0.0
        self._usage: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        return self

    def add(self, message: Any) -> None:
        """Takes note of a piece of the answer, which is one frame."""
        metrics.counts.frames += 1
        self._last = time.monotonic()
        if self._first is None and (message.content or message.additional_kwargs):
            self._first = self._last
            if self._run is not None:
                self._run.first_token(self._label)
        if message.usage_metadata:
            self._usage = message.usage_metadata

    @property
    def _label(self) -> str:
        return metrics.model_label(self._model, has_answered=self._first is not None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        labels = {
            metrics.OPERATION: "chat",
            metrics.PROVIDER: "openai",
            metrics.MODEL: self._label,
        }
        end = time.monotonic() if error is not None or self._first is None else self._last
        metrics.operation_duration.record(end - self._start, {**labels, **_error(kind)})
        for token_type in ("input", "output"):
            if tokens := self._usage.get(f"{token_type}_tokens"):
                metrics.token_usage.record(tokens, {**labels, metrics.TOKEN_TYPE: token_type})
        tokens = self._usage.get("output_tokens") or 0
        if self._first is not None and tokens > 1:
            seconds = (self._last - self._first) / (tokens - 1)
            metrics.time_per_output_token.record(seconds, labels)


def _waited_seconds(configurable: Mapping[str, Any]) -> float | None:
    """How long ago the run was asked for; None where nobody says."""
    start_ms = configurable.get(REQUEST_START)
    if not isinstance(start_ms, int | float):
        return None
    return min(max(time.time() - start_ms / 1000, 0.0), _LONGEST_WAIT_SECONDS)


def _error(kind: type[BaseException] | None) -> dict[str, str]:
    if kind is None:
        return {}
    return {metrics.ERROR: "stopped" if _is_stop(kind) else kind.__name__}


def _is_stop(kind: type[BaseException]) -> bool:
    return issubclass(kind, asyncio.CancelledError | GeneratorExit)
