"""`useStream`, v0 of the SDK and v1 of @langchain/react, in an application on its own origin."""

import asyncio
import re
import secrets
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from client import AgentClient
from client.cli.local_server import LocalServer
from client.decoding.messages import text_of
from tests.clients.conftest import Open
from tests.faults.plan import Kind, NetFault, Plan
from tests.faults.proxy import Proxy
from tests.model_server import Fault, ModelServer, Reply, ToolCall
from tests.runs import ended
from tests.users import token_of

HOOKS = pytest.mark.parametrize("hook", ["v0", "v1"])
LOADING = re.compile("true")


async def say(page: Page, text: str) -> None:
    await page.locator("input").fill(text)
    await page.get_by_role("button", name="Send").click()


async def idle(page: Page) -> None:
    await expect(page.locator("main[data-loading=false]")).to_be_visible()


async def shown(page: Page) -> list[list[str]]:
    """The messages on the page: type and text of each."""
    found: list[list[str]] = await page.locator("main > p").evaluate_all(
        "all => all.map(each => [each.dataset.type, each.textContent])"
    )
    return found


async def held(agent: AgentClient, page: Page) -> list[list[str]]:
    """The same, as the thread holds them once no run of it is active: a page that stops an answer
    is idle before the server has heard of it."""
    thread_id = str(await page.locator("main").get_attribute("data-thread"))
    await ended(agent, thread_id)
    messages = await agent.threads.messages(thread_id)
    return [[m["type"], text_of(m)] for m in messages]


async def seen_texts(page: Page) -> list[str]:
    """Every text that an answer ever had on the page, in order."""
    renders: list[list[dict[str, Any]]] = await page.evaluate("window.seen")
    return [m["text"] for render in renders for m in render if m["type"] == "ai"]


@HOOKS
async def test_turns(agent: AgentClient, open_app: Open, hook: str) -> None:
    """Two turns are shown as the thread holds them, and each text only ever grows."""
    page = await open_app(hook)
    for question in ("stream 60 tokens at 20 per second", "stream 40 tokens at 20 per second"):
        await say(page, question)
        await expect(page.locator("main[data-loading=true]")).to_be_visible()
        await idle(page)
    assert await shown(page) == await held(agent, page)
    assert len(await shown(page)) == 4
    texts = await seen_texts(page)
    assert len(set(texts)) > 20
    await page.reload()
    await expect(page.locator("main > p")).to_have_count(4)
    assert await shown(page) == await held(agent, page)


@HOOKS
async def test_stop(agent: AgentClient, open_app: Open, hook: str) -> None:
    """A stopped answer stays on the page once, with its text, as the thread holds it.

    v1 reads nothing after a stop, so the last words before it may not be there until it is loaded
    again.
    """
    page = await open_app(hook)
    for number in range(1, 4):
        await say(page, "stream 900 tokens at 30 per second")
        await expect(page.locator("main > p")).to_have_count(2 * number)
        await expect(page.locator("main > p").last).to_contain_text("word20")
        seen = await page.locator("main > p").last.text_content()
        await page.locator("#stop").click()
        await idle(page)
        await expect(page.locator("main > p")).to_have_count(2 * number)
        kept = await held(agent, page)
        assert [kind for kind, _ in kept] == ["human", "ai"] * number
        if hook == "v0":
            await expect(page.locator("main > p").last).to_have_text(kept[-1][1])
            assert await shown(page) == kept
        for (_, on_page), (_, in_thread) in zip(await shown(page), kept, strict=True):
            assert in_thread.startswith(on_page)
        assert (await shown(page))[-1][1].startswith(str(seen))
    await page.reload()
    await expect(page.locator("main > p")).to_have_count(6)
    assert await shown(page) == await held(agent, page)


@HOOKS
@pytest.mark.parametrize("kind", ["rst", "fin"])
async def test_cut(
    agent: AgentClient, server: LocalServer, open_app: Open, hook: str, kind: Kind
) -> None:
    """An answer whose connection is cut comes whole: the page may read where to join its run."""
    plan = Plan(streams=(NetFault(kind, 4_000),) * 6)
    async with Proxy(server.url, plan) as proxy:
        page = await open_app(hook, proxy.url, reconnect="1")
        await say(page, "stream 200 tokens at 60 per second")
        await expect(page.locator("main > p").last).to_contain_text("word199")
        await idle(page)
        assert proxy.done
        assert await shown(page) == await held(agent, page)
        assert len(await shown(page)) == 2


async def test_web_socket(agent: AgentClient, open_app: Open) -> None:
    """v1 over a WebSocket, on a new thread."""
    page = await open_app("v1", transport="websocket")
    await say(page, "stream 40 tokens at 60 per second")
    await expect(page.locator("main > p").last).to_contain_text("word39")
    await idle(page)
    assert await shown(page) == await held(agent, page)


async def test_refused_page(guarded: LocalServer, open_app: Open) -> None:
    """A page that may not use the server reads why, and what to set."""
    page = await open_app("v0", guarded.url, key=token_of("ada"))
    await say(page, "Hello.")
    await expect(page.locator("#error")).to_contain_text("STEADY_ALLOWED_ORIGINS")


@HOOKS
async def test_retry(
    agent: AgentClient, model: ModelServer, retrying: LocalServer, open_app: Open, hook: str
) -> None:
    """What a failed attempt of the model said is off the page while the next one is streamed."""
    question = f"Retried for {hook}."
    model.on(
        question,
        Reply(
            "one two three four five six seven eight nine ten",
            tokens_per_second=20,
            fails=[Fault("disconnect", after_tokens=6)],
        ),
    )
    page = await open_app(hook, retrying.url)
    await say(page, question)
    await expect(page.locator("main > p[data-type=ai]")).to_contain_text("ten")
    await idle(page)
    renders: list[list[dict[str, Any]]] = await page.evaluate("window.seen")
    answers = [[m["text"] for m in render if m["type"] == "ai" and m["text"]] for render in renders]
    assert [two for two in answers if len(two) > 1] == []
    assert [text for text in answers if text and text[0].startswith("one two three")]
    assert await shown(page) == [
        ["human", question],
        ["ai", "one two three four five six seven eight nine ten"],
    ]


def text_of_note(notes: Path, title: str) -> str:
    (note,) = notes.glob(f"*{title}*")
    return note.read_text()


@HOOKS
async def test_approval(
    model: ModelServer, retrying: LocalServer, retrying_notes: Path, open_app: Open, hook: str
) -> None:
    """A call that waits is edited on the page, and runs with the edited arguments."""
    title = secrets.token_hex(8)
    question = f"Save the note {title}."
    model.on(
        question,
        Reply(tool_calls=[ToolCall("save_note", {"title": title, "text": "The wrong text."})]),
        Reply("Saved."),
    )
    page = await open_app(hook, retrying.url)
    await say(page, question)
    await expect(page.locator("#interrupt")).to_contain_text("save_note")
    await page.evaluate(
        """title => void window.chat.decide([{
            type: "edit",
            edited_action: {name: "save_note", args: {title, text: "The right text."}},
            note: "an unknown field",
        }])""",
        title,
    )
    await expect(page.locator("main > p[data-type=ai]").last).to_have_text("Saved.")
    await idle(page)
    assert "The right text." in await asyncio.to_thread(text_of_note, retrying_notes, title)
    assert await page.locator("#error").count() == 0
    assert await page.locator("#interrupt").count() == 0
