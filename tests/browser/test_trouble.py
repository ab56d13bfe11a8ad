"""The page, when a request of its own fails beside an answer that is well."""

from playwright.async_api import Page, Route, expect

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

    await page.route("**/threads/*/state", refuse)
    await page.get_by_role("button", name="Hello, first thread.").first.click()
    alert = page.get_by_role("alert").filter(has=page.get_by_role("button", name="Load again"))
    await expect(alert).to_be_visible()
    await expect(questions(page)).to_have_count(0)
    await page.unroute("**/threads/*/state")
    await alert.get_by_role("button", name="Load again").click()
    await expect(questions(page)).to_have_text(["Hello, first thread."])


async def test_a_finished_answer_stays_finished(page: Page) -> None:
    """What cannot be asked after an answer leaves the answer as it is."""
    asked = []

    async def refuse(route: Route) -> None:
        asked.append(route.request.url)
        await route.abort()

    await page.route("**/threads/*/state", refuse)
    await ask(page, "Hello, finished.")
    await expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    await ended(page)
    await expect(answers(page)).to_have_text("You said: Hello, finished.")
    await expect(page.get_by_role("alert")).to_have_count(0)
    assert asked
