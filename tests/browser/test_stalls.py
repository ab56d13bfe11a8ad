"""A connection that hangs before it answers, and what is left of those that were cut."""

import asyncio
import itertools

import pytest
from playwright.async_api import BrowserContext, Page, Route, WebSocketRoute, expect

from client.cli.local_server import LocalServer
from tests.browser.conftest import Open
from tests.browser.test_page import (
    ENDLESS,
    SLOW,
    SLOWER,
    TEXT,
    answers,
    ask,
    ended,
    stream_over,
)
from tests.faults.plan import NetFault, Plan
from tests.faults.proxy import Proxy
from tests.model_server import ModelServer

SILENT_MS = 45_000
COUNT_LISTENERS = """
  window.listeners = 0;
  const { addEventListener, removeEventListener } = AbortSignal.prototype;
  const { prototype } = AbortSignal;
  prototype.addEventListener = function (...args) {
    window.listeners += 1;
    return EventTarget.prototype.addEventListener.apply(this, args);
  };
  prototype.removeEventListener = function (...args) {
    window.listeners -= 1;
    return EventTarget.prototype.removeEventListener.apply(this, args);
  };
"""


async def held(page: Page, count: int = 1) -> asyncio.Queue[Route]:
    """The requests for an answer that get none, as they come: the first ones."""
    hanging, number = asyncio.Queue[Route](), itertools.count()

    async def hold(route: Route) -> None:
        if next(number) < count:
            hanging.put_nowait(route)
        else:
            await route.continue_()

    await page.route("**/agent/stream", hold)
    return hanging


async def test_a_request_without_an_answer_is_given_up(
    context: BrowserContext, open_page: Open
) -> None:
    """Without a word for as long as three heartbeats, it is asked again, and the answer comes."""
    await context.clock.install()
    page = await open_page()
    hanging = await held(page)
    await ask(page, SLOW)
    await hanging.get()
    await page.clock.fast_forward(SILENT_MS)
    await ended(page)
    await expect(answers(page)).to_have_text(TEXT)


@pytest.mark.usefixtures("quiet_model")
async def test_stop_where_a_request_hangs(page: Page, model: ModelServer) -> None:
    """Stop asks over another connection what the run is, and stops it."""
    hanging = await held(page)
    await ask(page, ENDLESS)
    await hanging.get()
    await page.get_by_role("button", name="Stop", exact=True).click()
    await ended(page, "stopped")
    await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 0)


async def test_stop_where_every_request_hangs(page: Page) -> None:
    """Said again, it ends the wait at once: the next message can be sent."""
    hanging = await held(page, 10)
    await ask(page, SLOW)
    await hanging.get()
    stop = page.get_by_role("button", name="Stop", exact=True)
    await stop.click()
    await hanging.get()
    await stop.click()
    await ended(page, "stopped")
    await expect(stop).to_be_hidden()


async def test_nothing_is_left_of_a_cut_response(
    server: LocalServer, context: BrowserContext, open_page: Open
) -> None:
    """However often it is cut, no listener stays behind."""
    await context.add_init_script(COUNT_LISTENERS)
    cuts = tuple(NetFault("rst", 900) for _ in range(4))
    async with Proxy(server.url, Plan(streams=cuts)) as proxy:
        page = await open_page(proxy.url)
        await ask(page, "stream 150 tokens at 30 per second")
        await ended(page)
        assert len(proxy.done) == 4
    assert await page.evaluate("window.listeners") == 0


async def test_nothing_is_left_of_a_cut_socket(
    context: BrowserContext, open_page: Open, model: ModelServer
) -> None:
    """The same over the WebSocket."""
    await context.add_init_script(COUNT_LISTENERS)
    connections, closing = list[WebSocketRoute](), list[asyncio.Future[None]]()
    is_last = asyncio.Event()

    def cut(socket: WebSocketRoute) -> None:
        number, server = len(connections), socket.connect_to_server()
        connections.append(socket)
        if number == 4:
            is_last.set()

        def down(message: str | bytes) -> None:
            socket.send(message)
            if number < 4 and "token" in str(message):
                closing.append(asyncio.ensure_future(socket.close()))

        server.on_message(down)

    await context.route_web_socket("**/ws/chat*", cut)
    page = await open_page()
    await stream_over(page, "websocket")
    await ask(page, SLOWER)
    await is_last.wait()
    model.hurry()
    await ended(page)
    await expect(answers(page)).to_have_text(TEXT)
    assert len(connections) == 5
    assert await page.evaluate("window.listeners") == 0
