"""Every instrument: under the names of OpenTelemetry's GenAI conventions where they have one.

They record nothing until `agent.telemetry.export` has given OpenTelemetry somewhere to send to.
Labels are few and known beforehand: no user, thread or run is named in one.
"""

from collections import Counter
from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

NAME = "steadystream"
AGENT, MODEL, OPERATION = "gen_ai.agent.name", "gen_ai.request.model", "gen_ai.operation.name"
PROVIDER, TOKEN_TYPE, ERROR = "gen_ai.provider.name", "gen_ai.token.type", "error.type"
SURFACE, LIMIT = "steady.surface", "steady.limit"
SURFACES = ("api", "agent", "chat", "websocket", "openai")
LIMITS = ("messages", "runs", "streams", "crons")
_MOST_MODELS = 20  # a run may name its model: the label must not grow with what people think of
_OTHER = "other"

_LONG_SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96]
_RUN_SECONDS = [*_LONG_SECONDS, 81.92, 163.84, 327.68, 655.36]
_FIRST_TOKEN_SECONDS = [0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30]
_TOKEN_SECONDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5]
_TOKENS = [4**n for n in range(12)]
_LAG_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

_meter = get_meter(NAME)

time_to_first_token = _meter.create_histogram(
    "gen_ai.server.time_to_first_token",
    "s",
    "From the request for a run to the first token of its answer",
    explicit_bucket_boundaries_advisory=_FIRST_TOKEN_SECONDS,
)
time_per_output_token = _meter.create_histogram(
    "gen_ai.server.time_per_output_token",
    "s",
    "Time per token after the first, of one answer of the model",
    explicit_bucket_boundaries_advisory=_TOKEN_SECONDS,
)
request_duration = _meter.create_histogram(
    "gen_ai.server.request.duration",
    "s",
    "From the request for a run to the run's end",
    explicit_bucket_boundaries_advisory=_RUN_SECONDS,
)
operation_duration = _meter.create_histogram(
    "gen_ai.client.operation.duration",
    "s",
    "One call of the model, from its beginning to its last token",
    explicit_bucket_boundaries_advisory=_RUN_SECONDS,
)
token_usage = _meter.create_histogram(
    "gen_ai.client.token.usage",
    "{token}",
    "Tokens of one call of the model, as it reports them",
    explicit_bucket_boundaries_advisory=_TOKENS,
)
queue_wait = _meter.create_histogram(
    "steady.queue.wait",
    "s",
    "From the request for a run to its first step",
    explicit_bucket_boundaries_advisory=_LONG_SECONDS,
)
event_loop_lag = _meter.create_histogram(
    "steady.event_loop.lag",
    "s",
    "How late the event loop woke a task that asked to be woken",
    explicit_bucket_boundaries_advisory=_LAG_SECONDS,
)
resume_behind = _meter.create_histogram(
    "steady.stream.resume.behind",
    "s",
    "How old the last event was that a reader had when it came back",
    explicit_bucket_boundaries_advisory=_LONG_SECONDS,
)
streams_cut = _meter.create_counter(
    "steady.streams.cut", description="Streams that the reader or the network ended before the end"
)
resumes = _meter.create_counter(
    "steady.stream.resumes", description="Readers that asked for what follows the last event"
)
cuts_healed = _meter.create_counter(
    "steady.streams.healed", description="Resumed streams that were sent to their end"
)
model_retries = _meter.create_counter(
    "steady.model.retries", description="Model calls that were tried again"
)
partials_kept = _meter.create_counter(
    "steady.partials.kept", description="Partial answers that were saved in their thread"
)
runs_stopped = _meter.create_counter(
    "steady.runs.stopped", description="Runs that were stopped before their end"
)
runs_continued = _meter.create_counter(
    "steady.runs.continued", description="Runs that another server had begun"
)
quota_refusals = _meter.create_counter(
    "steady.quota.refusals", description="Requests that were over a limit of their user's"
)


def begin_counters() -> None:
    """Shows each counter at 0: for Prometheus, one that is first seen at 1 has not grown."""
    for counter in (model_retries, partials_kept, runs_stopped, runs_continued):
        counter.add(0)
    for surface in SURFACES:
        for counter in (streams_cut, resumes, cuts_healed):
            counter.add(0, {SURFACE: surface})
    for limit in LIMITS:
        quota_refusals.add(0, {LIMIT: limit})


class Counts:
    """Counts in plain numbers: for what happens with each frame, where an instrument is too slow.

    `waiting` is what waits in storage, by kind; a kind that was never looked at is not reported.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.open_streams = Counter[str]()  # by surface
        self.waiting = dict[str, int]()


counts = Counts()
_models = set[str]()


def model_label(name: str, *, has_answered: bool) -> str:
    """The model's name; `other` for one that never answered, and beyond the first few."""
    if name not in _models and has_answered and len(_models) < _MOST_MODELS:
        _models.add(name)
    return name if name in _models else _OTHER


def _frames(_: CallbackOptions) -> Iterable[Observation]:
    yield Observation(counts.frames)


def _open_streams(_: CallbackOptions) -> Iterable[Observation]:
    for surface, number in counts.open_streams.items():
        yield Observation(number, {SURFACE: surface})


def _waiting(kind: str) -> Iterable[Observation]:
    if kind in counts.waiting:
        yield Observation(counts.waiting[kind])


_meter.create_observable_counter(
    "steady.frames", [_frames], description="Frames of the models' answers"
)
_meter.create_observable_gauge(
    "steady.streams.open", [_open_streams], description="Streams that are being read"
)
_meter.create_observable_gauge(
    "steady.approvals.waiting",
    [lambda _: _waiting("approvals")],
    description="Threads that wait for a person's decision",
)
_meter.create_observable_gauge(
    "steady.runs.waiting", [lambda _: _waiting("runs")], description="Runs that wait in the queue"
)
