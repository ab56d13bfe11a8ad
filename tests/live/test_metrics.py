"""What `/metrics` tells of runs, models, streams, cuts and limits, and to whom."""

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client import AgentClient, Token
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import Fault, ModelServer, Reply
from tests.prometheus import Scrape, until
from tests.sse_reader import ask, opened
from tests.users import METRICS_TOKEN, bearer, token_of

TOKENS = tuple(f"word{n} " for n in range(60))
RUN = {"gen_ai_agent_name": "agent", "gen_ai_operation_name": "invoke_agent"}
FIRST_TOKEN = "gen_ai_server_time_to_first_token_seconds"
PER_TOKEN = "gen_ai_server_time_per_output_token_seconds"
LABELS = {
    *("gen_ai_agent_name", "gen_ai_operation_name", "gen_ai_request_model"),
    *("gen_ai_provider_name", "gen_ai_token_type", "error_type"),
    *("steady_surface", "steady_limit", "le"),
}


@pytest.fixture(scope="module")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of these tests' own: no run that another file left is counted at its end."""
    env, folder = server_env(model.url), tmp_path_factory.mktemp("measured")
    with LocalServer(find_config(Path(__file__).parent), env=env, folder=folder) as running:
        yield running


async def test_a_run_is_measured(
    agent: AgentClient, server: LocalServer, model: ModelServer
) -> None:
    """First token, time a token, duration, queue wait, tokens and frames, in the GenAI names."""
    pause = 0.5
    model.on("Measured?", Reply(TOKENS, tokens_per_second=50.0, first_token_seconds=pause))
    before = await Scrape.of(server.url)
    await agent.stream("Measured?").text()
    names = ("gen_ai_server_request_duration_seconds", FIRST_TOKEN, "steady_queue_wait_seconds")
    after = await until(
        server.url, lambda it: it.value(f"{names[0]}_count") > before.value(f"{names[0]}_count")
    )

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert [grown(f"{name}_count", gen_ai_agent_name="agent") for name in names] == [1, 1, 1]
    assert grown(f"{FIRST_TOKEN}_sum", **RUN) >= pause
    assert grown(f"{names[0]}_sum", **RUN) >= pause + len(TOKENS) / 50 * 0.8
    per_token = grown(f"{PER_TOKEN}_sum")
    assert 0.5 / 50 <= per_token <= grown(f"{names[0]}_sum", **RUN) / (len(TOKENS) - 1)
    assert grown("gen_ai_client_operation_duration_seconds_count") == 1
    assert grown("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == len(TOKENS)
    assert 1 <= grown("steady_frames_total") <= len(TOKENS)
    assert after.value("steady_event_loop_lag_seconds_count") > 0


@pytest.mark.parametrize("surface", ["api", "agent"])
async def test_a_cut_that_is_healed_is_counted(
    server: LocalServer, model: ModelServer, surface: str
) -> None:
    """A reader that is cut off and comes back with its last id: how often, and how far behind."""
    labels = {"steady_surface": surface}
    thread_id, before = uuid.uuid4(), await Scrape.of(server.url)
    question = "stream 60 tokens at 5 per second"
    message = {"messages": [{"role": "user", "content": question}]}
    path, body = {
        "agent": ("/agent/stream", {"message": question}),
        "api": (
            f"/threads/{thread_id}/runs/stream",
            {
                **{"assistant_id": "agent", "input": message, "stream_mode": ["messages-tuple"]},
                **{"stream_resumable": True, "if_not_exists": "create"},
            },
        ),
    }[surface]
    async with opened(server.url, path, body) as stream:
        for _ in range(8):
            await anext(stream)
        shown = await Scrape.of(server.url)
        assert shown.value("steady_streams_open", **labels) >= 1
    cut = "steady_streams_cut_total"
    await until(server.url, lambda it: it.value(cut, **labels) == before.value(cut, **labels) + 1)
    model.hurry()
    if surface == "api":
        path = stream.response.headers["content-location"] + "/stream"
    headers = {"Last-Event-ID": stream.last_event_id}
    async with opened(server.url, path, None if surface == "api" else body, headers) as rest:
        await rest.rest()
    healed = "steady_streams_healed_total"
    after = await until(
        server.url, lambda it: it.value(healed, **labels) == before.value(healed, **labels) + 1
    )
    name = "steady_stream_resumes_total"
    assert after.value(name, **labels) == before.value(name, **labels) + 1
    name = "steady_stream_resume_behind_seconds_count"
    assert after.value(name) == before.value(name) + 1
    assert after.value(cut, **labels) == before.value(cut, **labels) + 1


async def test_what_is_not_cut_is_not_healed(agent: AgentClient, server: LocalServer) -> None:
    """The client's look at the end of a run, and a run of the routes, count as no resume."""
    before = await Scrape.of(server.url)
    await agent.stream("Whole?").text()
    await ask(server.url, "/agent/stream", {"message": "Whole, too?"})
    await ask(server.url, "/chat/stream", {"question": "And whole?"})
    after = await Scrape.of(server.url)
    for name in ("cut", "healed"):
        full = f"steady_streams_{name}_total"
        assert after.value(full) == before.value(full)
    assert after.value("steady_stream_resumes_total") == before.value("steady_stream_resumes_total")


async def test_what_went_wrong_is_counted(
    agent: AgentClient, server: LocalServer, model: ModelServer
) -> None:
    """A stop, the partial answer that it keeps, and a run that fails by its kind of error."""
    before = await Scrape.of(server.url)
    async with agent.stream("stream 900 tokens at 30 per second") as run:
        async for event in run:
            if isinstance(event, Token):
                await run.stop()
    model.on("Refused.", Reply(fault=Fault(status=401)))
    with pytest.raises(Exception, match="OPENAI_API_KEY"):
        await agent.stream("Refused.").text()
    names = ("steady_runs_stopped_total", "steady_partials_kept_total")
    await until(
        server.url, lambda it: all(it.value(name) == before.value(name) + 1 for name in names)
    )
    name = "gen_ai_server_request_duration_seconds_count"
    await until(
        server.url,
        lambda it: all(
            it.value(name, error_type=kind) == before.value(name, error_type=kind) + 1
            for kind in ("stopped", "ModelError")
        ),
    )


async def test_labels_are_few(server: LocalServer, model: ModelServer) -> None:
    """However often runs name models that do not answer, no label grows, and none names a user."""
    name = "a-name-that-somebody-thought-of"
    model.on("Who are you?", *[Reply(fault=Fault(status=404))] * 3)
    async with AgentClient(server.url) as agent:
        with pytest.raises(Exception, match=name):
            await agent.stream("Who are you?", context={"model": name}).text()
    scrape = await until(
        server.url,
        lambda it: (
            it.value("gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="other")
            > 0
        ),
    )
    ours = [
        labels
        for sample, found in scrape.samples.items()
        if re.match("steady_|gen_ai_", sample)
        for labels, _ in found
    ]
    assert {label for labels in ours for label in labels} <= LABELS
    assert name not in str(ours)


async def test_metrics_are_nobodys_but_prometheus(guarded: LocalServer) -> None:
    """Where there are users, their tokens do not open the metrics; a token of its own does."""
    async with httpx.AsyncClient(base_url=guarded.url, timeout=60) as http:
        answers = [
            (await http.get(path, headers=bearer(token))).status_code
            for path in ("/metrics", "/metrics/")
            for token in ("", token_of("ada"), METRICS_TOKEN[:-1])
        ]
        assert answers == [401, 404, 401] * 2
        told = await http.get("/metrics", headers=bearer(METRICS_TOKEN))
        assert told.status_code == 200
        assert "steady_frames_total" in told.text
        refused = await http.post(
            "/agent/stream", json={"message": "?"}, headers=bearer(METRICS_TOKEN)
        )
        assert refused.status_code == 401
