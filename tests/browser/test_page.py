"""The chat page in a real browser, against a real server and the scripted model."""

import asyncio
import json
import re

import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from client.cli.local_server import LocalServer
from tests.browser.conftest import Open, picture
from tests.faults.plan import NetFault, Plan
from tests.faults.proxy import Proxy
from tests.model_server import ModelServer, Reply, ToolCall
from tests.users import token_of

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
)
SLOW = "stream 60 tokens at 30 per second"
SLOWER = "stream 60 tokens at 5 per second"  # until the model is told to hurry
ENDLESS = "stream 900 tokens at 10 per second"  # until it is stopped
TEXT = " ".join(f"word{n}" for n in range(60))
PRODUCT = "What is 17 x 23, on the page?"
DOCS = "How do token frames work?"
SEARCH = ToolCall("search_docs", {"query": "token frames"})
FRAMES = """Tokens travel in **frames**: the first goes out at once, and what arrives within one
interval after it goes out together.

| | frames off | frames on |
|---|---|---|
| events a second | one a token | at most 25 |
| first token | at once | at once |

```python
STEADY_FRAME_SECONDS = 0.04  # 0 turns them off
```

Nothing is dropped, and the order is kept."""


@pytest.fixture(autouse=True)
def script(model: ModelServer) -> None:
    call = ToolCall("calculate", {"expression": "17 * 23"})
    first = Reply(("Let", " me", " see."), reasoning="A product.", tool_calls=[call])
    model.on(PRODUCT, first, Reply("It is **391**."))
    model.on(DOCS, Reply("I look it up.", tool_calls=[SEARCH]), Reply(FRAMES, tokens_per_second=10))


async def ask(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Message").fill(text)
    await page.get_by_role("button", name="Send", exact=True).click()


async def stream_over(page: Page, transport: str) -> None:
    inspector = page.get_by_role("button", name="Inspector", exact=True)
    await inspector.click()
    await page.get_by_label("Stream over").select_option(transport)
    await inspector.click()


def answers(page: Page) -> Locator:
    return page.get_by_role("article", name="Answer")


def questions(page: Page) -> Locator:
    return page.get_by_role("article", name="You").get_by_role("paragraph")


async def ended(page: Page, status: str = "success") -> None:
    """The last answer has ended so, and nothing that was asked still waits for an answer."""
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_hidden()
    await expect(answers(page).last).to_have_attribute("data-status", status)


@pytest.mark.usefixtures("quiet_model")
async def test_tokens_appear_over_time(page: Page, model: ModelServer) -> None:
    """The first words are there while the model still speaks; at the end the text is whole."""
    await ask(page, SLOWER)
    await expect(answers(page)).to_contain_text("word1")
    assert model.open_streams == 1
    assert "word59" not in await answers(page).inner_text()
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    model.hurry()
    await ended(page)
    await expect(answers(page)).to_have_text(TEXT)
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


async def test_an_answer_that_was_cut_says_so(page: Page, model: ModelServer) -> None:
    """An answer that ended at the model's limit is said to be cut."""
    model.on("Too long?", Reply("It goes on and", finish_reason="length"))
    await ask(page, "Too long?")
    await ended(page)
    await expect(answers(page)).to_contain_text("Cut at the model's limit.")


async def test_a_tool_card_fills(page: Page) -> None:
    """A call is a card with its arguments and its result; reasoning is folded away."""
    await ask(page, PRODUCT)
    await ended(page)
    card = page.get_by_role("group", name="Tool calculate")
    await expect(card).to_have_attribute("data-status", "ok")
    await expect(card).to_contain_text('"expression": "17 * 23"')
    await expect(card).to_contain_text("17 * 23 = 391")
    await expect(answers(page).get_by_text("A product.")).to_be_hidden()
    await answers(page).get_by_text("Reasoning").click()
    await expect(answers(page).get_by_text("A product.")).to_be_visible()
    await expect(answers(page).locator("strong")).to_have_text("391")


async def test_arguments_are_seen_while_they_are_written(page: Page, model: ModelServer) -> None:
    """A long call fills its card before it is complete."""
    call = ToolCall("search_docs", {"query": " ".join(f"frames{n}" for n in range(60))})
    model.on("Search long.", Reply(tool_calls=[call], tokens_per_second=5), Reply("Found."))
    await ask(page, "Search long.")
    card = page.get_by_role("group", name="Tool search_docs")
    await expect(card).to_have_attribute("data-status", "writing")
    await expect(card).to_contain_text("frames1")
    model.hurry()
    await ended(page)
    await expect(card).to_have_attribute("data-status", "ok")


@pytest.mark.usefixtures("quiet_model")
async def test_stop_keeps_what_was_said(page: Page, model: ModelServer) -> None:
    """After a stop the text stays, the state says so, and the next question is answered."""
    await ask(page, ENDLESS)
    await expect(answers(page)).to_contain_text("word5")
    await page.get_by_role("button", name="Stop", exact=True).click()
    await ended(page, "stopped")
    await expect(answers(page)).to_contain_text("word5")
    await expect(answers(page)).to_contain_text("Stopped.")
    await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 0)
    await ask(page, "Still there?")
    await ended(page)
    await expect(answers(page).last).to_have_text("You said: Still there?")


@pytest.mark.usefixtures("quiet_model")
async def test_a_stop_holds_before_the_run_is_known(
    server: LocalServer, open_page: Open, model: ModelServer
) -> None:
    """Pressed while nothing has come of the answer, Stop ends the run as soon as it is known."""
    held = (NetFault("stall", 0, seconds=1.0),)
    async with Proxy(server.url, Plan(streams=held)) as proxy:
        page = await open_page(proxy.url)
        await ask(page, ENDLESS)
        await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 1)
        await page.get_by_role("button", name="Stop", exact=True).click()
        await ended(page, "stopped")
    await asyncio.to_thread(model.wait_for, lambda m: m.open_streams == 0)


NOTE_LINK = """() => {
    const link = document.querySelector("#link");
    window.links = []; // what it said, each for a moment
    const note = () => window.links.push(link.textContent);
    new MutationObserver(note).observe(link, { childList: true });
}"""


@pytest.mark.parametrize("kind", ["rst", "fin", "end", "end_mid"])
async def test_a_cut_connection_recovers(server: LocalServer, open_page: Open, kind: str) -> None:
    """The page says that the connection dropped and that it is back; the text is exact."""
    cuts = (NetFault(kind, 900), NetFault("status", status=503), NetFault(kind, 700))  # type: ignore[arg-type]
    async with Proxy(server.url, Plan(streams=cuts)) as proxy:
        page = await open_page(proxy.url)
        await page.evaluate(NOTE_LINK)
        await ask(page, SLOW)
        await ended(page)
        await expect(answers(page)).to_have_text(TEXT)
        told = [line for line in await page.evaluate("window.links") if line]
        once = ["Connection lost. Trying again…", "Connected again."]
        assert told in (once, 2 * once)  # the second cut may come before any event
        assert len(proxy.done) == 3


async def test_a_reload_goes_on(page: Page, model: ModelServer) -> None:
    """Reloaded in the middle of an answer, the page has the question and all of the answer."""
    slow = "stream 300 tokens at 10 per second"
    await ask(page, PRODUCT)
    await ended(page)
    await ask(page, slow)
    await expect(answers(page).last).to_contain_text("word5")
    await page.reload()
    await expect(answers(page).last).to_contain_text("word9")
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    model.hurry()
    await ended(page)
    await expect(answers(page).last).to_have_text(" ".join(f"word{n}" for n in range(300)))
    await expect(questions(page)).to_have_text([PRODUCT, slow])
    await expect(answers(page)).to_have_count(2)
    await expect(page.get_by_role("group", name="Tool calculate")).to_contain_text("391")


async def test_two_tabs_agree(page: Page, open_page: Open, model: ModelServer) -> None:
    """What is asked in one tab streams in the other, and both end with the same text."""
    await ask(page, "Hello.")
    await ended(page)
    other = await open_page(fragment=f"#{page.url.partition('#')[2]}")
    await expect(answers(other)).to_have_text(["You said: Hello."])
    await ask(page, SLOWER)
    await expect(answers(other).last).to_contain_text("word3")
    model.hurry()
    for tab in (page, other):
        await expect(answers(tab).last).to_have_text(TEXT)
        await expect(questions(tab)).to_have_text(["Hello.", SLOWER])


async def test_threads_are_listed_and_deleted(page: Page) -> None:
    """Conversations have titles, open by a click, and are gone once deleted."""
    await ask(page, "Remember the lighthouse.")
    await ended(page)
    await page.get_by_role("button", name="New conversation", exact=True).click()
    await expect(page.get_by_role("heading", name="Ask something.")).to_be_visible()
    conversations = page.get_by_role("navigation", name="Conversations")
    await conversations.get_by_role("button", name=re.compile("^Remember the lighthouse")).click()
    await expect(answers(page)).to_have_text("You said: Remember the lighthouse.")
    page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
    await conversations.get_by_role("button", name="Delete Remember the lighthouse.").click()
    await expect(conversations.get_by_text("Remember the lighthouse.")).to_have_count(0)


async def test_a_failure_is_told_and_can_be_tried_again(page: Page, model: ModelServer) -> None:
    """An error is an alert with the reason, beside what was said; trying again answers anew."""
    await ask(page, "stream 9 tokens then end after 3")
    await ended(page, "error")
    alert = answers(page).last.get_by_role("alert")
    await expect(alert).to_contain_text("broke off")
    await expect(answers(page).last).to_contain_text("word0 word1 word2")
    asked = len(model.requests)
    await alert.get_by_role("button", name="Try again").click()
    await asyncio.to_thread(model.wait_for, lambda m: len(m.requests) > asked)
    await ended(page, "error")
    await expect(questions(page)).to_have_count(1)
    await page.reload()
    await expect(questions(page)).to_have_count(1)


async def test_the_websocket_says_the_same(page: Page) -> None:
    """Over the WebSocket the same questions have the same texts, calls and ends."""
    told = []
    for transport in ("sse", "websocket"):
        await stream_over(page, transport)
        await page.get_by_role("button", name="New conversation", exact=True).click()
        await ask(page, PRODUCT)
        await ended(page)
        await ask(page, SLOW)
        await expect(answers(page)).to_have_count(2)
        await ended(page)
        told.append(await answers(page).all_inner_texts())
    assert told[0] == told[1]
    assert told[1][1] == TEXT


async def test_the_inspector(page: Page, model: ModelServer) -> None:
    """It draws the graph, tells steps, events and figures, filters events, and alone has the choice
    of the transport."""
    await expect(page.get_by_role("combobox", name="Stream over")).to_have_count(0)
    await page.get_by_role("button", name="Inspector", exact=True).click()
    inspector = page.get_by_role("complementary", name="Inspector")
    await expect(inspector.get_by_role("combobox", name="Stream over")).to_be_visible()
    await expect(inspector.get_by_role("img", name="The agent's graph")).to_contain_text("model")
    await ask(page, DOCS)
    await expect(inspector.locator("[data-node=model]")).to_have_class(re.compile("active"))
    await expect(answers(page)).to_contain_text("Tokens travel")
    model.hurry()
    await ended(page)
    await page.get_by_role("group", name="Tool search_docs").locator("summary").click()
    await picture(page, "desktop")
    await expect(inspector.locator("#steps")).to_contain_text("model")
    await expect(inspector.locator("#figures")).to_contain_text(re.compile(r"First token\d+ ms"))
    await expect(inspector.locator("#events")).to_contain_text("on_chat_model_stream")
    await inspector.get_by_role("searchbox", name="Filter events").fill("run_started")
    await expect(inspector.locator("#events > li:visible")).to_have_count(1)


async def test_the_keyboard_is_enough(page: Page) -> None:
    """Asking, stopping and opening a conversation need no mouse, and the focus is never lost."""
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the message")).to_be_focused()
    await page.keyboard.press("Enter")
    message = page.get_by_role("textbox", name="Message")
    await expect(message).to_be_focused()
    await page.keyboard.type(ENDLESS)
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.press("Backspace")
    await page.keyboard.press("Enter")
    await expect(answers(page)).to_contain_text("word3")
    await page.keyboard.press("Escape")
    await ended(page, "stopped")
    await expect(message).to_be_focused()
    await page.get_by_role("searchbox", name="Search conversations").focus()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("article", name="You")).to_have_count(1)


async def test_the_answer_is_announced(page: Page) -> None:
    """A screen reader hears the finished answer once, not each token."""
    await ask(page, PRODUCT)
    await ended(page)
    await expect(page.locator("[aria-live=polite]#announcer")).to_contain_text("It is 391.")
    await expect(page.get_by_role("log", name="Conversation")).to_have_attribute("aria-live", "off")


async def test_a_phone(browser: Browser, server: LocalServer) -> None:
    """On a small dark screen nothing is cut off, and the conversations are one touch away."""
    context = await browser.new_context(
        viewport={"width": 360, "height": 740},
        color_scheme="dark",
        has_touch=True,
        is_mobile=True,
    )
    page = await context.new_page()
    await page.goto(server.url)
    await ask(page, PRODUCT)
    await ended(page)
    await picture(page, "phone")
    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    await expect(page.get_by_role("button", name="Inspector", exact=True)).to_be_in_viewport(
        ratio=1
    )
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_in_viewport(ratio=1)
    conversations = page.get_by_role("navigation", name="Conversations")
    await expect(conversations).to_be_hidden()
    await page.get_by_role("button", name="Conversations").tap()
    await expect(conversations).to_be_in_viewport(ratio=0.9)
    await conversations.get_by_role("button", name=re.compile(f"^{re.escape(PRODUCT)}")).first.tap()
    await expect(conversations).to_be_hidden()
    await context.close()


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_editing_and_answering_again(page: Page, model: ModelServer, transport: str) -> None:
    """A message is said differently, an answer is given anew, and the old branch is still there."""
    await stream_over(page, transport)
    model.on(f"Vary on {transport}.", Reply("Answer one."))
    await ask(page, "Hello.")
    await ended(page)
    await ask(page, f"Vary on {transport}.")
    await expect(answers(page).last).to_contain_text("Answer one.")
    model.on(f"Vary on {transport}.", Reply("Answer two."))
    await page.get_by_role("button", name="Answer again").click()
    await expect(answers(page).last).to_contain_text("Answer two.")
    await ended(page)
    first = page.get_by_role("article", name="You").first
    await first.get_by_role("button", name="Edit").click()
    await page.get_by_role("textbox", name="New words").fill("Goodbye.")
    await page.get_by_role("button", name="Ask this instead").click()
    await expect(answers(page)).to_have_count(1)
    await expect(answers(page)).to_contain_text("You said: Goodbye.")
    await ended(page)
    await page.get_by_role("button", name="Inspector", exact=True).click()
    await page.get_by_role("button", name="Show checkpoints").click()
    await page.get_by_role("button", name="4 · Answer one.").first.click()
    await expect(answers(page).last).to_contain_text("Answer one.")
    await ask(page, "From there.")
    await expect(answers(page).last).to_contain_text("You said: From there.")
    await ended(page)
    told = [m["content"] for m in model.requests[-1]["messages"][1:]]
    assert told[0] == "Hello."
    assert told[-2:] == ["Answer one.", "From there."]


async def test_a_retry_discards_the_partial(page: Page, server: LocalServer) -> None:
    """What a retry takes back is gone from the page."""
    script = """async () => {
      const { Answer } = await import("/page/conversation.js");
      const answer = new Answer({});
      for (const event of [
        { type: "token", message_id: "0", content: "I look." },
        { type: "tool_call", id: "1", tool: "search_docs", args: {} },
        { type: "tool_result", id: "1", tool: "search_docs", status: "ok", content: "Found. " },
        { type: "reasoning", message_id: "a", content: "Half a thou" },
        { type: "token", message_id: "a", content: "Half an ans" },
        { type: "tool_call_delta", id: "2", tool: "save_note", args_text: "{half" },
        { type: "retry", message_id: "a", attempt: 2, reason: "it broke off" },
        { type: "tool_call_delta", id: "3", tool: "save_note", args_text: "{half" },
        { type: "retry", message_id: null, attempt: 3, reason: "it broke off" },
        { type: "token", message_id: "b", content: "The whole answer." },
        { type: "done", status: "success" },
      ]) answer.take(event);
      return answer.root.textContent; }"""
    assert await page.evaluate(script) == "I look.search_docsdone{}Found. The whole answer."


async def test_pictures_and_files_of_a_tools_result(page: Page, server: LocalServer) -> None:
    """A picture is seen, from the stream and from the thread; another file can be saved."""
    script = """async ([png, wav]) => {
      const { Answer, eventsOf } = await import("/page/conversation.js");
      const ofCall = { id: "1", tool: "draw", status: "ok", content: "Here:\\n[image]" };
      const live = { type: "tool_result", ...ofCall, media: [png, wav] };
      const content = [{ type: "text", text: ofCall.content }, png, wav];
      const [kept] = eventsOf({ type: "tool", tool_call_id: "1", name: "draw", content });
      const seen = [];
      for (const event of [live, kept]) {
        const answer = new Answer({});
        answer.take(event);
        document.body.append(answer.root);
        const [image, file] = answer.root.querySelectorAll("img, a");
        await image.decode();
        const words = answer.root.querySelector("pre.tool-result").textContent;
        seen.push([image.naturalWidth, words, file.href, file.download]);
      }
      return seen; }"""
    png = {"type": "image", "base64": PIXEL, "mime_type": "image/png"}
    wav = {"type": "file", "base64": "AAAA", "mime_type": "audio/wav"}
    shown = [1, "Here:\n[image]", "data:audio/wav;base64,AAAA", "audio.wav"]
    assert await page.evaluate(script, [png, wav]) == [shown, shown]


async def test_memories_are_shown_and_forgotten(page: Page, model: ModelServer) -> None:
    """What the agent remembers is listed beside the conversations, and deleted there."""
    facts = ("Plays the oboe.", "Lives in Oslo.")
    calls = tuple(ToolCall("remember", {"fact": fact}) for fact in facts)
    model.on("Remember me.", Reply(tool_calls=calls), Reply("I will."))
    await ask(page, "Remember me.")
    await ended(page)
    await page.get_by_text("What the agent remembers of you").click()
    listed = page.locator("#memory-list li")
    await expect(listed).to_have_count(2)
    for fact in facts:
        await page.get_by_role("button", name=f"Forget “{fact}”").click()
        await expect(listed.filter(has_text=fact)).to_have_count(0)
    await expect(listed).to_have_text("Nothing yet.")


@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.parametrize(
    ("way", "first"),
    [("after this answer", "whole"), ("and stop this answer", "partial"), ("and undo", "gone")],
)
async def test_a_message_while_an_answer_is_written(
    page: Page, model: ModelServer, transport: str, way: str, first: str
) -> None:
    """It goes after the answer, or stops it and keeps what was said, or undoes the turn."""
    await stream_over(page, transport)
    await ask(page, SLOWER)
    await expect(answers(page).last).to_contain_text("word3")
    options = page.get_by_label("While an answer is written, send")
    label = await options.locator("option", has_text=way).text_content()
    await options.select_option(label=label)
    await ask(page, "And then?")
    if first == "whole":
        model.hurry()
    await expect(answers(page).last).to_contain_text("You said: And then?")
    await expect(questions(page)).to_have_count(1 if first == "gone" else 2)
    if first == "whole":
        await expect(answers(page).first).to_contain_text("word59")
    if first == "partial":
        await expect(answers(page).first).to_contain_text("word3")
        await expect(answers(page).first).not_to_contain_text("word59")
    await page.reload()
    await expect(answers(page).last).to_contain_text("You said: And then?")
    await expect(questions(page)).to_have_count(1 if first == "gone" else 2)


@pytest.mark.parametrize("transport", ["sse", "websocket"])
async def test_a_server_that_wants_a_token(
    guarded: LocalServer, context: BrowserContext, transport: str
) -> None:
    """The page asks for the token, keeps it for the tab, shows one's own, and forgets it again."""
    page = await context.new_page()
    await page.goto(guarded.url)
    await expect(page.get_by_role("form", name="Sign in")).to_be_visible()
    await page.get_by_label("Your token").fill(token_of("ada"))
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    await stream_over(page, transport)
    await ask(page, "Hello, as Ada.")
    await ended(page)
    await page.reload()
    await expect(answers(page).last).to_contain_text("You said: Hello, as Ada.")
    assert "token" not in page.url
    assert await page.evaluate("JSON.stringify(localStorage) + document.cookie") == json.dumps(
        {"transport": transport}, separators=(",", ":")
    )
    other = await context.new_page()
    await other.goto(page.url)
    await expect(other.get_by_role("form", name="Sign in")).to_be_visible()
    await expect(other.locator("#log")).not_to_contain_text("Hello, as Ada.")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("form", name="Sign in")).to_be_visible()
