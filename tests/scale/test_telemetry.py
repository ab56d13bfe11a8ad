"""Metrics, traces and logs of many processes: what one began and another ended belongs together."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import dropwhile
from typing import Any

import pytest

from client.events import JSON
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall
from tests.otlp import Collector, until
from tests.prometheus import Scrape
from tests.prometheus import until as until_scraped
from tests.scale.cluster import Cluster, Process, running
from tests.sse_reader import ask, cut_and_resumed

SAID, ANSWERED = "a-word-of-a-person", "a-word-of-the-model"
KEY = "test-key-that-nobody-may-read"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
SURFACE = {"steady_surface": "agent"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


@pytest.fixture(scope="module")
async def observed(
    installed: None,
    model: ModelServer,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Cluster]:
    """Two processes that send traces, and write their logs as JSON."""
    env = {
        **server_env(model.url),
        "OPENAI_API_KEY": KEY,
        "STEADY_LOG_JSON": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    async with running(tmp_path_factory.mktemp("observed"), env, 2) as started:
        yield started


def json_lines(process: Process) -> list[JSON]:
    """From the first line on that this project's code had a hand in."""
    lines = process.log.read_text(encoding="utf-8").splitlines()
    ours = dropwhile(lambda line: not line.startswith("{"), lines)
    return [json.loads(line) for line in ours]


async def test_a_stream_of_two_processes_is_one_trace_and_one_run(
    observed: Cluster, collector: Collector, model: ModelServer
) -> None:
    """A reader that is cut off at one process and comes back at the other: traces and counters."""
    first, second = observed.processes
    before = [await Scrape.of(process.url) for process in observed.processes]
    sum_of = ToolCall("calculate", {"expression": "17 * 24"})
    words = tuple(f"{ANSWERED} " for _ in range(60))
    model.on(SAID, Reply(tool_calls=(sum_of,)), Reply(words, tokens_per_second=20.0))
    rest = await cut_and_resumed(first.url, second.url, {"message": SAID}, CALLER)
    assert rest[-1]["status"] == "success"

    await until(lambda: {"CHAIN", "LLM", "TOOL", "resume"} <= collector.kinds(TRACE_ID))
    assert not any(word.encode() in collector.sent for word in (SAID, ANSWERED, KEY, "17 * 24"))

    cut = "steady_streams_cut_total"
    await until_scraped(first.url, lambda it: it.value(cut, **SURFACE) == 1)
    healed = "steady_streams_healed_total"
    await until_scraped(second.url, lambda it: it.value(healed, **SURFACE) == 1)
    after = [await Scrape.of(process.url) for process in observed.processes]

    def grown(name: str, **labels: str) -> float:
        return sum(
            now.value(name, **labels) - then.value(name, **labels)
            for now, then in zip(after, before, strict=True)
        )

    for name in (
        *("gen_ai_server_time_to_first_token_seconds", "gen_ai_server_request_duration_seconds"),
        "steady_queue_wait_seconds",
    ):
        assert grown(f"{name}_count", gen_ai_agent_name="agent") == 1, name
    assert grown("gen_ai_client_operation_duration_seconds_count") == 2
    assert grown("steady_stream_resume_behind_seconds_count") == 1
    assert grown("steady_streams_open") == 0


async def test_the_logs_are_json(observed: Cluster, model: ModelServer) -> None:
    """The process that runs a run writes its ids and its trace, and not what anybody said."""
    error = {"error": {"message": f"Cannot take {SAID}: \x1b[31mred", "code": 400}}
    model.on(f"Fail, {SAID}.", *[Reply(raw=[f"data: {json.dumps(error)}\n\n".encode()])] * 9)
    events = await ask(observed.url, "/agent/stream", {"message": f"Fail, {SAID}."}, CALLER)
    assert events[-1]["status"] == "error"

    def of_run() -> list[dict[str, Any]]:
        lines = [line for process in observed.processes for line in json_lines(process)]
        return [line for line in lines if line.get("run_id") == events[0]["run_id"]]

    await until(lambda: any("exception" in line for line in of_run()))
    assert all({"timestamp", "level", "logger", "message"} <= line.keys() for line in of_run())
    assert any(line.get("trace_id") == TRACE_ID for line in of_run())
    text = "".join(json.dumps(json_lines(process)) for process in observed.processes)
    assert not any(word in text for word in (SAID, ANSWERED, KEY, "\x1b"))
