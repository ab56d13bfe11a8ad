"""A real Chromium, driven by Playwright, on the page of a real server."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import ModelServer

PATIENCE_MS = 45_000
expect.set_options(timeout=PATIENCE_MS)

Open = Callable[..., Awaitable[Page]]


def chromium() -> str:
    """The browser's program: `STEADY_CHROMIUM`, or the system's. Skips, but never in CI.

    Without windows it takes half of the time.
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("STEADY_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        told = (
            "There is no Chromium: install Debian's `chromium-headless-shell`, or name one in "
            "STEADY_CHROMIUM."
        )
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
    return found


@pytest.fixture(scope="session")
def server(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of the page's tests: its list has no conversations of others."""
    folder = tmp_path_factory.mktemp("page")
    env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"))
    with LocalServer(find_config(Path(__file__)), env=env, folder=folder) as running:
        yield running


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = chromium()
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        await started.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A person's browser: its tabs share what they keep."""
    made = await browser.new_context(viewport={"width": 1280, "height": 800})
    made.set_default_timeout(PATIENCE_MS)
    yield made
    await made.close()


@pytest.fixture
async def faults() -> AsyncIterator[list[str]]:
    """What went wrong inside a page; the test fails if anything did."""
    found: list[str] = []
    yield found
    assert found == []


@pytest.fixture
async def open_page(server: LocalServer, context: BrowserContext, faults: list[str]) -> Open:
    """Opens the page in a new tab; `at` is another way to reach the server."""

    async def opened(at: str = "", fragment: str = "") -> Page:
        page = await context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.goto(f"{at or server.url}/{fragment}")
        return page

    return opened


@pytest.fixture
async def page(open_page: Open) -> Page:
    return await open_page()


async def picture(page: Page, name: str) -> None:
    """Saves what the page looks like in the folder `STEADY_PICTURES`, if there is one."""
    if folder := os.environ.get("STEADY_PICTURES"):
        await page.screenshot(path=Path(folder) / f"{name}.png")
