"""Web applications of others in a real Chromium, on origins of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import urlencode

import pytest
from playwright.async_api import BrowserContext, Page

from client.cli.local_server import LocalServer
from tests.browser.conftest import browser, context, faults
from tests.clients.environments import HERE, needs, served

__all__ = ["browser", "context", "faults"]

Open = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def app_url() -> Iterator[str]:
    """The address of the small application of `app/`."""
    needs(HERE / "app/build")
    with served(HERE / "app/build") as url:
        yield url


@pytest.fixture
async def open_app(
    server: LocalServer, app_url: str, context: BrowserContext
) -> AsyncIterator[Open]:
    """Opens the small application; `hook` is v0 or v1, and the rest is in its `main.jsx`."""
    errors: list[str] = []

    async def opened(hook: str, api: str = "", **asked: str) -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        query = urlencode({"hook": hook, "api": api or server.url, **asked})
        await page.goto(f"{app_url}/?{query}")
        await page.locator("input").wait_for()
        return page

    yield opened
    assert errors == []
