"""The page's files, as a browser's cache sees them."""

from pathlib import Path

import httpx
import pytest

import agent
from agent.prompt import EXAMPLES, INTRODUCTION, NAME
from client.cli.local_server import LocalServer

WEB = Path(agent.__file__).parent / "web"
LARGEST_BYTES = 300_000


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/page.css"])
async def test_a_page_is_never_stale(server: LocalServer, path: str) -> None:
    """A browser asks for each file anew after an upgrade, and is sent none that it has already."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        fresh = await http.get(path)
        known = await http.get(path, headers={"If-None-Match": fresh.headers["etag"]})
    assert fresh.headers["cache-control"] == known.headers["cache-control"] == "no-cache"
    assert (fresh.status_code, known.status_code) == (200, 304)
    assert known.content == b""


async def test_the_page_is_light(server: LocalServer) -> None:
    """All its files take less than 300 kB to send, and less than that unpacked without the two that
    are loaded when code or a formula is shown."""
    files = [it for it in WEB.rglob("*") if it.suffix in (".js", ".css", ".svg", ".html")]
    sent = 0
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        for file in files:
            response = await http.get(f"/page/{file.relative_to(WEB)}")
            assert response.content == file.read_bytes()
            sent += response.num_bytes_downloaded
    assert sent < LARGEST_BYTES
    at_once = [it for it in files if it.name not in ("prism.js", "temml.js")]
    assert sum(it.stat().st_size for it in at_once) < LARGEST_BYTES


async def test_the_page_presents_the_agent_as_the_prompt_file_says(server: LocalServer) -> None:
    """Name, introduction and examples of the page are those of `agent/prompt.py`."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        about = (await http.get("/page/about.json")).json()
    assert about == {"name": NAME, "introduction": INTRODUCTION, "examples": EXAMPLES}
