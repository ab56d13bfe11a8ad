"""Every route of the scaled-out server, asked by everybody, about their own and others' things."""

import asyncio
import json
import subprocess
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.conftest import server_env
from tests.live.test_matrix import (
    CRON,
    DECIDED,
    EVENTS,
    ITEM,
    JSON,
    MARK,
    ON_THREAD,
    OTHER,
    OWN,
    Row,
    Walker,
    begin,
    chat_of,
    in_place,
    response_on,
    run_of,
    unknown,
)
from tests.model_server import ModelServer
from tests.scale.cluster import PYTHON, Cluster, running
from tests.users import KNOWS_TOKENS, NO_LIMITS, bad_tokens, token_of

BAD = ("no token", "broken", "expired")
_LISTS_ROUTES = """
import json
from agent.scale.server import app
print(json.dumps({path: list(methods) for path, methods in app.openapi()["paths"].items()}))
"""

ROUTES: dict[tuple[str, str], Row] = {
    ("POST", "/agent/decide"): Row("thread", in_place("thread_id", **DECIDED), ok=404),
    ("POST", "/agent/resume"): Row("thread", in_place("thread_id", answers={"none": 1}), ok=404),
    ("POST", "/agent/regenerate"): Row("thread", in_place("thread_id")),
    ("POST", "/agent/continue_run"): Row(
        "thread", in_place("thread_id"), ok=422
    ),  # its run had ended
    ("POST", "/agent/stop"): Row("run", in_place("thread_id", "run_id"), ok=202),
    # a run is made on a thread that is not there yet, and makes it
    ("POST", "/agent/stream"): Row("thread", in_place("thread_id", message=MARK), unknown=200),
    ("GET", "/agent/stream/{thread_id}/{run_id}"): Row("run"),
    ("GET", "/assistants"): Row(),
    ("POST", "/assistants"): Row(body=lambda place: {"graph_id": "agent", "name": MARK}),
    ("POST", "/assistants/count"): Row(body=in_place()),
    ("POST", "/assistants/search"): Row(body=in_place()),
    ("GET", "/assistants/{assistant_id}"): Row("assistant"),
    ("DELETE", "/assistants/{assistant_id}"): Row("assistant"),
    ("PATCH", "/assistants/{assistant_id}"): Row("assistant", lambda place: {"name": MARK}),
    ("GET", "/assistants/{assistant_id}/graph"): Row("assistant"),
    ("POST", "/assistants/{assistant_id}/latest"): Row("assistant", lambda place: {"version": 1}),
    ("GET", "/assistants/{assistant_id}/schemas"): Row("assistant"),
    ("GET", "/assistants/{assistant_id}/subgraphs"): Row("assistant"),
    ("POST", "/assistants/{assistant_id}/versions"): Row("assistant", in_place()),
    ("POST", "/chat/stream"): Row(body=lambda place: {"question": "Hello."}),
    ("GET", "/health"): Row(),
    ("GET", "/info"): Row(),
    ("GET", "/live"): Row(),
    ("GET", "/ready"): Row(is_public=True),
    ("POST", "/runs"): Row(body=run_of),
    ("POST", "/runs/cancel"): Row(
        "run", lambda place: {"thread_id": place["thread_id"], "run_ids": [place["run_id"]]}, ok=204
    ),
    ("POST", "/runs/crons"): Row(body=lambda place: {**CRON, "enabled": False}),
    ("POST", "/runs/crons/count"): Row(body=in_place()),
    ("POST", "/runs/crons/search"): Row(body=in_place()),
    ("PATCH", "/runs/crons/{cron_id}"): Row("cron", lambda place: {"schedule": "0 0 2 2 *"}),
    ("DELETE", "/runs/crons/{cron_id}"): Row("cron", ok=204),
    ("POST", "/runs/stream"): Row(body=run_of),
    ("POST", "/runs/wait"): Row(body=run_of),
    ("PUT", "/store/items"): Row(body=lambda place: {**ITEM, "value": {"text": "x"}}, ok=204),
    ("DELETE", "/store/items"): Row(body=lambda place: ITEM, ok=204),
    ("GET", "/store/items"): Row("item", query="?namespace=memories&key={key}"),
    ("POST", "/store/items/search"): Row(body=lambda place: {"namespace_prefix": []}),
    ("POST", "/store/namespaces"): Row(body=in_place()),
    ("GET", "/threads"): Row(),
    ("POST", "/threads"): Row(body=in_place()),
    # it prunes none
    ("POST", "/threads/prune"): Row(
        "thread", lambda place: {"thread_ids": [place["thread_id"]]}, unknown=200, other=200
    ),
    ("POST", "/threads/search"): Row(body=in_place()),
    ("GET", "/threads/{thread_id}"): Row("thread"),
    ("DELETE", "/threads/{thread_id}"): Row("thread"),
    ("PATCH", "/threads/{thread_id}"): Row("thread", lambda place: {"metadata": {"a": 1}}),
    ("POST", "/threads/{thread_id}/commands"): Row("thread", begin, unknown=200),  # it is begun
    ("GET", "/threads/{thread_id}/history"): Row("thread"),
    ("POST", "/threads/{thread_id}/history"): Row("thread", in_place()),
    ("GET", "/threads/{thread_id}/runs"): Row("thread", unknown=200, other=200),  # none of them
    ("POST", "/threads/{thread_id}/runs"): Row("thread", run_of, unknown=200),
    ("POST", "/threads/{thread_id}/runs/crons"): Row(
        "thread", lambda place: {**CRON, "enabled": False}
    ),
    ("POST", "/threads/{thread_id}/runs/stream"): Row("thread", run_of, unknown=200),
    ("POST", "/threads/{thread_id}/runs/wait"): Row("thread", run_of, unknown=200),
    ("GET", "/threads/{thread_id}/runs/{run_id}"): Row("run"),
    ("PATCH", "/threads/{thread_id}/runs/{run_id}"): Row(
        "run", lambda place: {"run_id": place["run_id"], "status": "interrupted"}
    ),
    ("DELETE", "/threads/{thread_id}/runs/{run_id}"): Row("run", ok=204),
    ("POST", "/threads/{thread_id}/runs/{run_id}/cancel"): Row("run"),
    ("GET", "/threads/{thread_id}/runs/{run_id}/join"): Row("run"),
    ("GET", "/threads/{thread_id}/runs/{run_id}/stream"): Row("run"),
    ("GET", "/threads/{thread_id}/state"): Row("thread"),
    ("POST", "/threads/{thread_id}/state"): Row("thread", lambda place: {"values": None}),
    ("POST", "/threads/{thread_id}/state/checkpoint"): Row(
        "thread", lambda place: {"checkpoint": {"checkpoint_id": place["checkpoint_id"]}}
    ),
    ("GET", "/threads/{thread_id}/state/{checkpoint_id}"): Row("thread"),
    # a thread that is not there yet may be listened to
    ("POST", "/threads/{thread_id}/stream/events"): Row(
        "thread", lambda place: EVENTS, unknown=200
    ),
    ("GET", "/v1/models"): Row(),
    ("GET", "/v1/models/{model}"): Row("assistant"),
    ("POST", "/v1/chat/completions"): Row("thread", chat_of, headers=ON_THREAD),
    ("POST", "/v1/responses"): Row("thread", response_on, unknown=200),
    ("GET", "/v1/responses/{response_id}"): Row("run", query="?stream=true"),
    ("POST", "/v1/responses/{response_id}/cancel"): Row("run"),
    ("DELETE", "/v1/responses/{response_id}"): Row("run"),
    # not in the document
    ("GET", "/"): Row(is_public=True),
    ("GET", "/page/main.js"): Row(is_public=True),
    ("GET", "/page/about.json"): Row(is_public=True),
    ("GET", "/ok"): Row(is_public=True),
    ("GET", "/docs"): Row(ok=404),
    ("GET", "/openapi.json"): Row(ok=404),
    ("GET", "/metrics"): Row(ok=404),
}


class ScaleWalker(Walker):
    """Makes a cron that does not run at once, and no assistant that is there already."""

    async def ended(self, run: str) -> None:
        """Asked again and again: Aegra's own `join` looks every two seconds."""
        async with asyncio.timeout(60):
            while (await self.http.get(run, headers=self.ada)).json()["status"] != "success":  # noqa: ASYNC110 - of a server
                await asyncio.sleep(0.05)

    async def make(self, of: str | None) -> JSON:
        place = await super().make(None if of in ("cron", "assistant") else of)
        if of == "assistant":
            body = {"graph_id": "agent", "name": MARK, "config": {"tags": [str(uuid.uuid4())]}}
            made = await self._made("/assistants", body)
            place["assistant_id"] = place["model"] = made["assistant_id"]
        if of == "cron":
            body = {**CRON, "enabled": False}
            place["cron_id"] = (await self._made("/runs/crons", body))["cron_id"]
        return place


@pytest.fixture(scope="module")
async def crowded(
    installed: None, model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    env = server_env(model.url, **KNOWS_TOKENS, **NO_LIMITS)
    async with running(tmp_path_factory.mktemp("matrix"), env, 1) as started:
        yield started


@pytest.fixture
async def walker(crowded: Cluster) -> AsyncIterator[ScaleWalker]:
    async with httpx.AsyncClient(base_url=crowded.url, timeout=60) as http:
        unused: Any = None  # it asks over no socket
        yield ScaleWalker(unused, http)


def test_every_route_has_a_row(crowded: Cluster) -> None:
    """A route that is added without saying who may use it fails here."""
    env, folder = crowded.processes[0].env, crowded.folder
    asked = [PYTHON, "-c", _LISTS_ROUTES]
    told = subprocess.run(asked, env=env, cwd=folder, capture_output=True, check=True).stdout
    served: dict[str, list[str]] = json.loads(told.splitlines()[-1])
    assert {(how.upper(), path) for path, methods in served.items() for how in methods} <= set(
        ROUTES
    )


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_who_gets_what(walker: ScaleWalker, route: tuple[str, str]) -> None:
    """Without a good token nothing; with one, what is one's own; what is another's is not found."""
    row = ROUTES[route]
    mine = await walker.make(row.of)
    got: dict[str, int] = {}
    for kind in BAD:
        got[kind], read = await walker.ask(route, row, bad_tokens(OWN)[kind], mine)
        assert MARK.encode() not in read
    got["another's"], read = await walker.ask(route, row, token_of(OTHER), mine)
    if row.of:
        assert MARK.encode() not in read
        got["unknown"], _ = await walker.ask(route, row, token_of(OWN), {**mine, **unknown()})
    if row.of == "thread":
        at = f"/threads/{mine['thread_id']}"
        assert (await walker.http.get(at, headers=walker.ada)).status_code == 200
    got["own"], _ = await walker.ask(route, row, token_of(OWN), mine)
    nobody = row.ok if row.is_public else 401
    assert got == {
        **dict.fromkeys(BAD, nobody),
        "another's": row.other if row.of else row.ok,
        **({"unknown": row.unknown} if row.of else {}),
        "own": row.ok,
    }
