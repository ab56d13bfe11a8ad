"""What goes to an OpenTelemetry collector and into the log: ids, and nothing that was said."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall
from tests.otlp import Collector, until
from tests.sse_reader import ask, cut_and_resumed

pytest.importorskip("openinference.instrumentation.langchain")

SAID, ANSWERED = "a-word-that-a-person-said", "a-word-that-the-model-said"
KEY = "test-key-that-nobody-may-read"
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def observed(
    model: ModelServer, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalServer]:
    """A server that sends traces and metrics, and writes its log as JSON."""
    env = {
        **server_env(model.url),
        "OPENAI_API_KEY": KEY,
        "STEADY_LOG_JSON": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }
    folder = tmp_path_factory.mktemp("observed")
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


async def test_a_run_is_part_of_its_callers_trace(
    observed: LocalServer, collector: Collector, model: ModelServer
) -> None:
    """Run, model call, tool and resume are spans of the caller's trace, and hold no content."""
    sum_of = ToolCall("calculate", {"expression": "17 * 24"})
    words = tuple(f"{ANSWERED} " for _ in range(20))
    model.on(SAID, Reply(tool_calls=(sum_of,)), Reply(words, tokens_per_second=20.0))
    rest = await cut_and_resumed(observed.url, observed.url, {"message": SAID}, CALLER)
    assert rest[-1]["status"] == "success"

    await until(lambda: {"CHAIN", "LLM", "TOOL", "resume"} <= collector.kinds(TRACE_ID))
    assert "steadystream" in collector.services
    assert not any(word.encode() in collector.sent for word in (SAID, ANSWERED, KEY, "17 * 24"))


async def test_the_metrics_go_there_too(observed: LocalServer, collector: Collector) -> None:
    """What `/metrics` shows, by OpenTelemetry's own names."""
    await ask(observed.url, "/agent/stream", {"message": "Hello?"})
    names = {
        *("gen_ai.server.time_to_first_token", "gen_ai.client.token.usage"),
        *("steady.frames", "steady.event_loop.lag"),
    }
    await until(lambda: names <= collector.metric_names)


async def test_the_log_is_json(observed: LocalServer, model: ModelServer) -> None:
    """Each line is an object with ids; a failure's has its kind, and not what anybody said."""
    error = {"error": {"message": f"Cannot take {SAID}: \x1b[31mred", "code": 400}}
    model.on(f"Fail, {SAID}.", *[Reply(raw=[f"data: {json.dumps(error)}\n\n".encode()])] * 9)
    events = await ask(observed.url, "/agent/stream", {"message": f"Fail, {SAID}."}, CALLER)
    assert events[-1]["status"] == "error"
    run_id = events[0]["run_id"]

    def text() -> str:
        """From the first line on that this project's code had a hand in."""
        log = observed.log.read_text(encoding="utf-8")
        return log[log.index('{"timestamp"') :]

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in text().splitlines() if line]

    await until(
        lambda: any("exception" in line for line in lines() if line.get("run_id") == run_id)
    )
    of_run = [line for line in lines() if line.get("run_id") == run_id]
    assert {"timestamp", "level", "logger", "message", "thread_id"} <= of_run[0].keys()
    assert any(line.get("trace_id") == TRACE_ID for line in of_run)
    assert not any(word in text() for word in (SAID, ANSWERED, KEY, "\x1b"))


async def test_a_run_writes_few_lines(server: LocalServer, agent: AgentClient) -> None:
    """What is said of a run, and nothing that is said of each request."""
    before = len(server.log.read_bytes())
    await agent.ask("Hello.")

    def text() -> str:
        return server.log.read_bytes()[before:].decode(errors="replace")

    await until(lambda: "run succeeded" in text())
    assert "authentication handler" not in text()
    assert "HTTP Request" not in text()
