"""The page's files, as a browser's cache sees them."""

import httpx
import pytest

from agent.prompt import EXAMPLES, INTRODUCTION, NAME
from client.cli.local_server import LocalServer


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/page.css"])
async def test_a_page_is_never_stale(server: LocalServer, path: str) -> None:
    """A browser asks for each file anew after an upgrade, and is sent none that it has already."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        fresh = await http.get(path)
        known = await http.get(path, headers={"If-None-Match": fresh.headers["etag"]})
    assert fresh.headers["cache-control"] == known.headers["cache-control"] == "no-cache"
    assert (fresh.status_code, known.status_code) == (200, 304)
    assert known.content == b""


async def test_the_page_presents_the_agent_as_the_prompt_file_says(server: LocalServer) -> None:
    """Name, introduction and examples of the page are those of `agent/prompt.py`."""
    async with httpx.AsyncClient(base_url=server.url) as http:
        about = (await http.get("/page/about.json")).json()
    assert about == {"name": NAME, "introduction": INTRODUCTION, "examples": EXAMPLES}
