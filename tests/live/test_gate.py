"""A server that knows no tokens: it serves its own machine, and nothing else that reaches it."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import UnprocessableEntityError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from client import AgentClient, CannotConnect
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer
from tests.users import socket_url

STUDIO = "https://smith.langchain.com"

ELSEWHERE = {
    "by another name": {"Host": "agents.example.com"},
    "by a name that resolves to here": {"Host": "127.0.0.1.attacker.example"},
    "through a proxy": {"X-Forwarded-For": "203.0.113.7"},
    "through a proxy that says so otherwise": {"Forwarded": "for=203.0.113.7"},
    "through a proxy that only names itself": {"Via": "1.1 proxy"},
    "through a proxy that tells the address": {"X-Real-IP": "203.0.113.7"},
    "by a name that is none": {"Host": "[::1"},
    "from an origin that is none": {"Origin": "http://["},
    "from another site's page": {"Origin": "https://attacker.example"},
    "from a page without a home": {"Origin": "null"},
}


@pytest.mark.parametrize("how", ELSEWHERE)
async def test_what_comes_from_elsewhere(server: LocalServer, how: str) -> None:
    """It is refused on every kind of route, before anything is done, and told how to open it."""
    headers = ELSEWHERE[how]
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
        answers = [
            await http.post("/threads/search", json={}),
            await http.post("/agent/stream", json={"message": "Hello."}),
            await http.post("/agent/stream", content=json.dumps({"message": "Hello."})),
            await http.get("/"),
        ]
    for answer in answers:
        assert answer.status_code == 403
        assert "STEADY_" in answer.json()["detail"]
        if answer.url.path == "/agent/stream":
            assert answer.json()["error"] == answer.json()["detail"]
            assert answer.json()["code"] == "unauthorized"
    if "Host" not in headers:
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(
                socket_url(server, "/ws/chat"), additional_headers=headers, open_timeout=60
            ):
                pass


async def test_what_comes_over_a_public_interface(model: ModelServer, tmp_path: Path) -> None:
    """A server that listens everywhere answers its own machine, and refuses this one's address."""
    address = _own_address()
    if address is None:
        pytest.skip("This machine has no address but loopback.")
    folder = tmp_path / "server"
    folder.mkdir()
    everywhere = _Everywhere(find_config(Path(__file__)), env=server_env(model.url), folder=folder)
    with everywhere as running:
        async with httpx.AsyncClient() as http:
            refused = await http.post(f"http://{address}:{running.port}/threads/search", json={})
            assert refused.status_code == 403
            assert "STEADY_JWT_SECRET" in refused.json()["detail"]
            own = await http.post(f"{running.url}/threads/search", json={})
            assert own.status_code == 200


class _Everywhere(LocalServer):
    def _command(self) -> list[str]:
        return [word if word != "127.0.0.1" else "0.0.0.0" for word in super()._command()]  # noqa: S104


def _own_address() -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent: it only chooses an interface
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_read_for_another_sites_page(server: LocalServer, site: str) -> None:
    """A browser sends no origin with it, but says so: it is refused, but for a link to the page."""
    async with httpx.AsyncClient(base_url=server.url, headers={"Sec-Fetch-Site": site}) as http:
        for path in ("/info", "/agent/stream/a/b", "/page/main.js", "/threads/a/state"):
            assert (await http.get(path)).status_code == 403
        assert (await http.get("/")).status_code == 200
        own = await http.get("/info", headers={"Sec-Fetch-Site": "same-origin"})
        assert own.status_code == 200


async def test_a_path_writes_no_line_into_the_log(server: LocalServer) -> None:
    """Line breaks and escape codes in a path reach neither a route nor the log."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        answer = await http.get("/threads/a%0aINJECTED%1b[31m%e2%80%a8line")
    assert answer.status_code == 400
    log = server.log.read_text()
    assert not any(line.startswith("INJECTED") for line in log.splitlines())
    assert "\x1b[31mline" not in log


async def test_studio_and_the_own_page_may_ask(server: LocalServer) -> None:
    """Studio's origin, with its preflight, and the server's own."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        for origin in (STUDIO, server.url):
            answer = await http.post("/threads/search", json={}, headers={"Origin": origin})
            assert answer.status_code == 200
            assert answer.headers.get("access-control-allow-origin") in (origin, None)
        preflight = {"Origin": STUDIO, "Access-Control-Request-Method": "POST"}
        network = {"Access-Control-Request-Private-Network": "true"}
        allowed = await http.options("/threads/search", headers={**preflight, **network})
        assert allowed.headers["access-control-allow-origin"] == STUDIO
        assert allowed.headers["access-control-allow-private-network"] == "true"
        stranger = {**preflight, "Origin": "https://attacker.example"}
        refused = await http.post("/threads/search", json={}, headers=stranger)
        assert refused.status_code == 403


async def test_the_page_is_held_to_its_own_files(server: LocalServer) -> None:
    """Its policy names no other source, nothing may frame it, and no cookie is ever set."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        for path in ("/", "/page/main.js", "/ok", "/threads/search"):
            answer = await http.request("POST" if "threads" in path else "GET", path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert "set-cookie" not in answer.headers
            if path in ("/", "/page/main.js"):
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy


INTO = (
    "https://169.254.169.254/latest/meta-data/",
    "https://127.0.0.1:2024/runs",
    "https://10.0.0.1/",
    "https://192.168.1.1/",
    "https://[::1]/",
    "https://[fd00::1]/",
    "https://localhost/",
    "http://1.1.1.1/",
    "/internal/truncate",
)


@pytest.mark.parametrize("url", INTO)
async def test_a_webhook_into_the_servers_own_network(agent: AgentClient, url: str) -> None:
    """Neither a run nor a cron has the server call what only the server can reach."""
    asked: dict[str, Any] = {"input": {"messages": []}, "webhook": url}
    with pytest.raises(UnprocessableEntityError):
        await agent.sdk.runs.create(None, "agent", **asked)
    with pytest.raises(UnprocessableEntityError):
        await agent.sdk.crons.create("agent", schedule="0 0 1 1 *", **asked)


async def test_the_local_person_is_one_user(agent: AgentClient) -> None:
    """What is made without tokens is that user's: it is not everybody's once there are tokens."""
    thread = await agent.threads.get(await agent.threads.create())
    assert thread["metadata"]["owner"] == "local"


def test_keys_that_do_not_fit_are_told_at_the_start(model: ModelServer, tmp_path: Path) -> None:
    """A server whose file of keys is spoilt does not start open, or half: it says which line."""
    keys = tmp_path / "keys"
    keys.write_text("ada not-a-hash\n")
    env = server_env(model.url, STEADY_API_KEYS_FILE=str(keys))
    server = LocalServer(find_config(Path(__file__)), env=env, folder=tmp_path)
    try:
        with pytest.raises(CannotConnect):
            server.start()
        assert f"{keys}, line 1" in server.log.read_text()
    finally:
        server.stop()
        server.log.unlink()
