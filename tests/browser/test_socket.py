"""The page's WebSocket, when it falls silent or is not let in."""

import time

from playwright.async_api import BrowserContext, WebSocketRoute, expect

from client.cli.local_server import LocalServer
from tests.browser.conftest import Open
from tests.browser.test_page import SLOW, TEXT, answers, ask, ended, stream_over
from tests.users import token_of

PING = '{"type":"ping"}'
PING_MS = 15_000


async def test_a_silent_socket_is_given_up(context: BrowserContext, open_page: Open) -> None:
    """It is pinged, and without a word for three pings the answer goes on over another one."""
    connections = list[WebSocketRoute]()
    pings = list[int]()  # the connection that each went over

    async def proxied(socket: WebSocketRoute) -> None:
        number = len(connections)
        connections.append(socket)
        server = socket.connect_to_server()

        def up(message: str | bytes) -> None:
            if message == PING:
                pings.append(number)
            server.send(message)

        def down(message: str | bytes) -> None:
            nonlocal is_deaf
            if number or not is_deaf:
                socket.send(message)
            is_deaf = is_deaf or "word9" in str(message)

        socket.on_message(up)
        server.on_message(down)

    is_deaf = False
    await context.clock.install()
    await context.route_web_socket("**/ws/chat*", proxied)
    page = await open_page()
    await stream_over(page, "websocket")
    await ask(page, SLOW)
    await expect(answers(page)).to_contain_text("word9")
    for _ in range(4):
        await page.clock.fast_forward(PING_MS)
    await ended(page)
    await expect(answers(page)).to_have_text(TEXT)
    assert len(connections) == 2
    assert 0 in pings


async def test_a_token_that_ran_out(guarded: LocalServer, context: BrowserContext) -> None:
    """Over the WebSocket too the page asks for another."""
    page = await context.new_page()
    await page.goto(guarded.url)
    await page.get_by_label("Your token").fill(token_of("ada"))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    await stream_over(page, "websocket")
    stale = token_of("ada", exp=int(time.time()) - 3600)
    await page.evaluate("(stale) => sessionStorage.setItem('token', stale)", stale)
    await ask(page, "Hello?")
    await expect(page.get_by_role("form", name="Sign in")).to_be_visible()
    await ended(page, "error")
