"""The page, when a request of its own fails beside an answer that is well."""

import asyncio

from playwright.async_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import Open
from tests.browser.test_page import answers, ask, ended, questions


async def test_a_thread_that_cannot_be_loaded(page: Page) -> None:
    """Nothing of the thread before it is left to be taken for it, and it can be loaded again."""
    await ask(page, "Hello, first thread.")
    await ended(page)
    await page.get_by_role("button", name="New conversation", exact=True).click()
    await ask(page, "Hello, second thread.")
    await ended(page)

    async def refuse(route: Route) -> None:
        await route.abort()

    await page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")  # no looks
    await page.route("**/threads/*/state", refuse)
    await page.get_by_role("button", name="Hello, first thread.").first.click()
    alert = page.get_by_role("alert").filter(has=page.get_by_role("button", name="Load again"))
    await expect(alert).to_be_visible()
    await expect(questions(page)).to_have_count(0)
    await page.unroute("**/threads/*/state")
    await alert.get_by_role("button", name="Load again").click()
    await expect(questions(page)).to_have_text(["Hello, first thread."])


async def test_a_page_that_did_not_load_whole(context: BrowserContext, open_page: Open) -> None:
    """It says so: without one of its files nothing on it would answer."""

    async def refuse(route: Route) -> None:
        await route.abort()

    told = "This page has not loaded whole. Reload it."
    await context.route("**/page/pace.js", refuse)
    page = await open_page()
    await expect(page.get_by_text(told)).to_be_visible()
    await context.unroute("**/page/pace.js")
    await page.reload()
    await expect(page.get_by_role("listitem").first).to_be_visible()
    await expect(page.get_by_text(told)).to_have_count(0)


async def test_a_finished_answer_stays_finished(page: Page) -> None:
    """What cannot be asked after an answer leaves the answer as it is."""
    asked = []

    async def refuse(route: Route) -> None:
        asked.append(route.request.url)
        await route.abort()

    await page.route("**/threads/*/state", refuse)
    await ask(page, "Hello, finished.")
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    await ended(page)
    await expect(answers(page)).to_have_text("You said: Hello, finished.")
    await expect(page.get_by_role("alert")).to_have_count(0)
    assert asked


async def test_a_message_before_the_thread_is_there(page: Page) -> None:
    """It goes to that thread, and all of the thread is shown when it has been answered."""
    await ask(page, "Hello, slow thread.")
    await ended(page)
    there = page.url
    await page.get_by_role("button", name="New conversation", exact=True).click()
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/threads/*/state", hold)
    await page.locator(f"[data-thread='{there.partition('#')[2]}'] .thread").click()
    await expect(page).to_have_url(there)
    await ask(page, "Quicker.")
    await ended(page)
    held.set()
    await expect(questions(page)).to_have_text(["Hello, slow thread.", "Quicker."])
    await expect(answers(page).last).to_have_text("You said: Quicker.")


async def test_a_message_while_the_end_is_read(page: Page) -> None:
    """It waits until what the answer left in the thread is there, and is asked then."""
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.continue_()

    await page.route("**/threads/*/state", hold)
    await ask(page, "Hello, first.")
    await expect(answers(page)).to_have_attribute("data-status", "success")
    await ask(page, "And then?")
    await expect(page.locator("#waiting")).to_have_text("Goes next: And then?")
    await expect(questions(page)).to_have_count(1)
    held.set()
    await ended(page)
    await expect(questions(page)).to_have_text(["Hello, first.", "And then?"])
    await expect(answers(page).last).to_have_text("You said: And then?")


async def test_looking_again_is_cheap(page: Page, open_page: Open) -> None:
    """A thread's whole state is fetched when there is news, and the reader's place is kept."""
    model_text = "\n\n".join(f"Line {n}." for n in range(60))
    await ask(page, model_text)
    await ended(page)
    other = await open_page(fragment=f"#{page.url.partition('#')[2]}")
    await expect(answers(other)).to_contain_text("Line 59.")
    await other.locator("#log").evaluate("(log) => { log.scrollTop = 40; }")
    states = list[str]()
    other.on("request", lambda r: states.append(r.url) if r.url.endswith("/state") else None)
    for _ in range(2):
        async with other.expect_response("**/threads/search"):
            await other.evaluate("dispatchEvent(new Event('focus'))")
    assert states == []
    await ask(page, "News.")
    await expect(answers(other).last).to_have_text("You said: News.")
    assert await other.locator("#log").evaluate("(log) => log.scrollTop") == 40
