"""Whose web pages may use a server, as their browser tells it by the origin."""

from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from agent.access.origins import normalized
from client import CannotConnect
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer
from tests.users import KNOWS_TOKENS, bearer, socket_url, token_of

OWN_MACHINE = [
    "http://localhost:5173",
    "http://127.0.0.1:3000",
    "http://[::1]:8080",
    "https://app.localhost",
    "HTTP://LOCALHOST:5173",
]
ELSEWHERE = [
    "https://attacker.example",
    "http://localhost.attacker.example:5173",
    "http://127.0.0.1.attacker.example",
    "http://localhost@attacker.example",
    "http://attacker.example:2024",
    "file://",
    "null",
    "http://[",
    "chrome-extension://abcdefghijklmnop",
    "",
]
READABLE = "access-control-allow-origin"
ASKS = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type,x-api-key",
}


@pytest.mark.parametrize("origin", OWN_MACHINE)
async def test_pages_of_this_machine(server: LocalServer, origin: str) -> None:
    """Without tokens, a page of any web server of this machine may ask, read, and open sockets."""
    async with httpx.AsyncClient(base_url=server.url, headers={"Origin": origin}) as http:
        preflight = await http.options("/threads/search", headers=ASKS)
        answer = await http.post("/threads/search", json={})
    assert preflight.status_code == answer.status_code == 200
    assert preflight.headers[READABLE] == answer.headers[READABLE] == origin
    assert {"content-location", "location"} <= set(
        answer.headers["access-control-expose-headers"].lower().split(", ")
    )
    async with connect(
        socket_url(server, "/ws/chat"), additional_headers={"Origin": origin}, open_timeout=60
    ):
        pass


@pytest.mark.parametrize("origin", ELSEWHERE)
async def test_pages_from_elsewhere(server: LocalServer, origin: str) -> None:
    """They are refused before anything is done, in words that the page can read."""
    async with httpx.AsyncClient(base_url=server.url, headers={"Origin": origin}) as http:
        before = (await httpx.AsyncClient(base_url=server.url, timeout=60).get("/ok")).status_code
        preflight = await http.options("/threads", headers=ASKS)
        answer = await http.post("/threads", json={"thread_id": "x"})
    assert before == 200
    assert answer.status_code == 403
    assert "STEADY_ALLOWED_ORIGINS" in answer.json()["detail"]
    if origin:
        assert preflight.status_code == 200
        assert answer.headers[READABLE] == origin


async def test_a_rebound_name(server: LocalServer) -> None:
    """A page whose name was made to mean this machine is no page of this machine."""
    for host in (
        "attacker.example",
        f"attacker.example:{server.port}",
        "localhost.attacker.example",
    ):
        headers = {"Host": host, "Origin": f"http://{host}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
            answer = await http.post("/threads/search", json={})
        assert answer.status_code == 403


async def test_it_is_logged_once(server: LocalServer) -> None:
    """The log names the origin and the setting, once for each origin."""
    origin = "https://logged.example"
    async with httpx.AsyncClient(base_url=server.url, headers={"Origin": origin}) as http:
        for _ in range(3):
            await http.post("/threads/search", json={})
    lines = [line for line in server.log.read_text().splitlines() if origin in line]
    assert len(lines) == 1
    assert "STEADY_ALLOWED_ORIGINS" in lines[0]


async def test_a_server_with_tokens(guarded: LocalServer) -> None:
    """It lets in the pages that its settings name: not those of its own machine."""
    headers = {"Origin": "http://localhost:5173", **bearer(token_of("ada"))}
    async with httpx.AsyncClient(base_url=guarded.url, headers=headers, timeout=60) as http:
        answer = await http.post("/threads/search", json={})
    assert answer.status_code == 403
    assert "STEADY_ALLOWED_ORIGINS" in answer.json()["detail"]


async def test_settings_add_to_studio(model: ModelServer, tmp_path: Path) -> None:
    """Origins are forgiven upper case, a slash at the end and a usual port; Studio stays."""
    env = server_env(
        model.url,
        **KNOWS_TOKENS,
        STEADY_ALLOWED_ORIGINS="HTTPS://App.Example.com:443/, http://other.example:8080",
    )
    with LocalServer(find_config(Path(__file__)), env=env, folder=tmp_path) as server:
        for origin in (
            "https://app.example.com",
            "http://other.example:8080",
            "https://smith.langchain.com",
        ):
            headers = {"Origin": origin, **bearer(token_of("ada"))}
            async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
                assert (await http.post("/threads/search", json={})).status_code == 200
        headers = {"Origin": "http://other.example", **bearer(token_of("ada"))}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as http:
            assert (await http.post("/threads/search", json={})).status_code == 403


@pytest.mark.parametrize("setting", ["*", "app.example.com", "https://app.example.com/chat"])
def test_a_setting_that_is_no_origin(model: ModelServer, tmp_path: Path, setting: str) -> None:
    """The server does not start, and says what an origin is."""
    env = server_env(model.url, STEADY_ALLOWED_ORIGINS=setting)
    server = LocalServer(find_config(Path(__file__)), env=env, folder=tmp_path)
    with pytest.raises(CannotConnect), server:
        pass
    assert "an origin is http:// or https://, a host" in server.log.read_text()


def test_normalized() -> None:
    """Origins are compared as browsers write them."""
    assert normalized("HTTP://LocalHost:80/") == "http://localhost"
    assert normalized("https://a.example:8443") == "https://a.example:8443"
    assert normalized("http://[::1]:3000") == "http://[::1]:3000"
    for other in ("", "null", "a.example", "ftp://a.example", "http://a.example/x", "http://a:b@c"):
        assert normalized(other) is None
