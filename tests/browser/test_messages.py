"""What a person does with messages, conversations and runs, beside asking."""

import asyncio
import base64
import json
import random
import re
import struct
import zlib
from contextlib import nullcontext

import pytest
from playwright.async_api import FilePayload, Page, Request, Response, expect

from client import AgentClient
from client.cli.local_server import LocalServer
from tests.browser.test_page import answers, ask, ended, questions
from tests.model_server import ModelServer, Reply

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LONGEST_SIDE = 1568
LARGEST_BASE64 = 1_000_000
LARGEST_TOGETHER = 3_500_000
SIZE = """async (url) => { const image = await createImageBitmap(await (await fetch(url)).blob());
  return [image.width, image.height]; }"""


def png(width: int, height: int, *, is_noise: bool) -> FilePayload:
    """An image: of one colour, or of noise, which no compression makes small."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    row = width * 3
    chance = random.Random(0)
    rows = (chance.randbytes(row) if is_noise else b"\x80" * row for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + each for each in rows), 1)
    parts = (
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", head),
        chunk(b"IDAT", pixels),
        chunk(b"IEND", b""),
    )
    return FilePayload(name="photo.png", mimeType="image/png", buffer=b"".join(parts))


async def test_versions_of_a_message_and_of_an_answer(page: Page, model: ModelServer) -> None:
    """Said differently in its place, and answered again; arrows lead from one to the next, with all
    that followed, and the next message goes on from what is shown, also after a reload."""
    await ask(page, "First.")
    await ended(page)
    model.on("Vary here.", Reply("Answer one."))
    await ask(page, "Vary here.")
    await ended(page)
    await ask(page, "What followed.")
    await ended(page)
    second = page.get_by_role("article", name="You").nth(1)
    await second.get_by_role("button", name="Edit").click()
    words = page.get_by_role("textbox", name="New words")
    await expect(words).to_be_focused()
    await expect(words).to_have_value("Vary here.")
    await page.keyboard.press("Escape")
    await expect(second.get_by_role("button", name="Edit")).to_be_focused()
    await page.keyboard.press("Enter")
    await words.fill("Vary there.")
    await words.press("Enter")
    await expect(questions(page)).to_have_text(["First.", "Vary there."])
    await expect(page.get_by_role("group", name="Versions of this message")).to_contain_text("2/2")
    await page.get_by_role("button", name="Answer again").click()
    await expect(page.get_by_role("group", name="Versions of this answer")).to_contain_text("2/2")
    await page.get_by_role("button", name="Previous message").press("Enter")
    await expect(questions(page)).to_have_text(["First.", "Vary here.", "What followed."])
    await expect(answers(page).nth(1)).to_have_text("Answer one.")
    await expect(page.get_by_role("button", name="Next message")).to_be_focused()
    await page.reload()
    await expect(questions(page)).to_have_count(3)
    await ask(page, "From there.")
    await ended(page)
    sent = [message["content"] for message in model.requests[-1]["messages"]]
    answers_sent = ["Answer one.", "You said: What followed."]
    assert sent[-5:] == [
        "Vary here.",
        answers_sent[0],
        "What followed.",
        answers_sent[1],
        "From there.",
    ]
    await page.get_by_role("button", name="Next message").click()
    await expect(questions(page)).to_have_text(["First.", "Vary there."])
    await expect(page.get_by_role("group", name="Versions of this answer")).to_contain_text("2/2")
    await page.get_by_role("button", name="Previous message").click()
    await expect(questions(page).last).to_have_text("From there.")


async def test_versions_that_another_program_made(
    page: Page, server: LocalServer, model: ModelServer
) -> None:
    """What a script answered anew, or said differently, has arrows."""
    model.on("Vary elsewhere.", Reply("Answer one."))
    async with AgentClient(server.url) as agent:
        run = agent.stream("Vary elsewhere.")
        await run.text()
        thread_id = str(run.thread_id)
        model.on("Vary elsewhere.", Reply("Answer two."))
        await agent.regenerate(thread_id).text()
        await page.goto(f"{server.url}/#{thread_id}")
        await expect(answers(page)).to_have_text("Answer two.")
        versions = page.get_by_role("group", name="Versions of this answer")
        await expect(versions).to_contain_text("2/2")
        (question, _) = await agent.threads.messages(thread_id)
        await agent.stream("Vary anew.", thread_id=thread_id, replaces=question["id"]).text()
    await expect(page.get_by_role("group", name="Versions of this message")).to_contain_text("2/2")
    await page.get_by_role("button", name="Previous message").click()
    await expect(answers(page)).to_have_text("Answer two.")
    await page.get_by_role("button", name="Previous answer").click()
    await expect(answers(page)).to_have_text("Answer one.")
    await expect(versions).to_contain_text("1/2")


async def test_a_long_past_is_not_read(page: Page, server: LocalServer) -> None:
    """Branches of others are looked for in as many states as are half a megabyte, and in none of a
    thread whose states are larger."""
    asked = list[int]()

    def note(request: Request) -> None:
        if request.url.endswith("/history"):
            asked.append(json.loads(request.post_data or "")["limit"])

    page.on("request", note)
    async with AgentClient(server.url) as agent:
        for size, limit in ((1, [100]), (50_000, [4]), (90_000, [])):
            run = agent.stream("x" * size)
            await run.text()
            for _ in range(3 if size == 90_000 else 0):
                await agent.stream("x" * size, thread_id=run.thread_id).text()
            asked.clear()
            async with page.expect_request("**/history") if limit else nullcontext():
                await page.goto(f"{server.url}/#{run.thread_id}")
            await expect(answers(page).last).to_contain_text("You said: x")
            await page.wait_for_load_state("networkidle")
            assert asked == limit


async def test_a_long_thread_comes_once(page: Page, server: LocalServer) -> None:
    """A thread of 400 turns is opened with one copy of its messages, its past included."""
    mark = "Said in the middle of it."
    messages = [
        {"role": role, "content": mark if (turn, role) == (200, "user") else f"{turn}"}
        for turn in range(400)
        for role in ("user", "assistant")
    ]
    read = list[Response]()

    def note(response: Response) -> None:
        if "/threads" in response.url:
            read.append(response)

    async with AgentClient(server.url) as agent:
        thread_id = await agent.threads.create({"graph_id": "agent"})
        asked = {"messages": messages}
        await agent.sdk.threads.update_state(thread_id, asked, as_node="__start__")
        await agent.stream("And then?", thread_id=thread_id).text()
        page.on("response", note)
        async with page.expect_response("**/history"):
            await page.goto(f"{server.url}/#{thread_id}")
        await expect(answers(page).last).to_have_text("You said: And then?")
        await page.wait_for_load_state("networkidle")
        copies = [(await response.text()).count(mark) for response in read]
    assert len(copies) >= 3
    assert sum(copies) == 1


async def test_messages_are_copied_and_have_times(page: Page, model: ModelServer) -> None:
    """An answer is copied as it was written, in Markdown; times are there after a reload as well;
    a conversation is given another name."""
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    model.on("Copy this.", Reply("A **bold** word."))
    await ask(page, "Copy this.")
    await ended(page)
    for kind, words in (("answer", "A **bold** word."), ("message", "Copy this.")):
        await page.get_by_role("button", name=f"Copy {kind}").click()
        async with asyncio.timeout(60):  # it is written some time after the click
            while await page.evaluate("navigator.clipboard.readText()") != words:
                pass
    for _ in range(2):
        times = page.locator(".actions time")
        await expect(times).to_have_text([re.compile(r"\d\d:\d\d")] * 2)
        await page.reload()
    entry = page.locator("#thread-list li").filter(has_text="Copy this.")
    await entry.get_by_role("button", name="Rename").click()
    title = page.get_by_role("textbox", name="Title")
    await expect(title).to_have_value("Copy this.")
    await title.fill("About boldness")
    await title.press("Enter")
    renamed = page.locator("#thread-list").get_by_role("button", name="Rename About boldness")
    await expect(renamed).to_be_focused()
    await page.reload()
    await expect(page.locator("#thread-list")).to_contain_text("About boldness")


async def test_what_a_run_may_choose(page: Page, model: ModelServer) -> None:
    """The assistant, the model and the temperature are chosen, and kept for the next time."""
    options = page.locator("#options")  # the list of conversations may have the same words
    await options.locator("summary").click()
    await options.get_by_label("Assistant").select_option(label="chat")
    await options.get_by_label("Model").fill("another-model")
    await options.get_by_label("Temperature").fill("0.5")
    await options.get_by_label("Temperature").blur()
    await expect(options.locator("summary")).to_have_text("Options: chat · another-model · 0.5")
    await page.reload()
    await ask(page, "Hello, choice.")
    await ended(page)
    asked = model.requests[-1]
    assert (asked["model"], asked["temperature"]) == ("another-model", 0.5)
    assert "tools" not in asked


async def test_files_go_with_a_message(page: Page, model: ModelServer) -> None:
    """An image and a text reach the model with the words, and stay with the message; what is
    neither is told, and what is attached can be taken away again."""
    files = [
        FilePayload(name="dot.png", mimeType="image/png", buffer=PNG),
        FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"Buy tea."),
        FilePayload(name="more.txt", mimeType="text/plain", buffer=b"Never mind."),
        FilePayload(name="tool.exe", mimeType="application/x-msdownload", buffer=b"MZ"),
    ]
    await page.locator("#files").set_input_files(files)
    attached = page.get_by_role("list", name="Attached files").get_by_role("listitem")
    await expect(attached).to_have_count(3)
    await expect(page.locator("#attach-fault")).to_contain_text("tool.exe is neither")
    await page.get_by_role("button", name="Remove more.txt").click()
    await ask(page, "Look at both.")
    await ended(page)
    await expect(attached).to_have_count(0)
    sent = model.requests[-1]["messages"][-1]["content"]
    assert sent[0] == {"type": "text", "text": "Look at both."}
    assert sent[1]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert "Buy tea." in sent[2]["text"]
    for _ in range(2):
        question = page.get_by_role("article", name="You")
        await expect(question.get_by_role("paragraph")).to_have_text("Look at both.")
        await expect(question.get_by_role("img", name="Attached image")).to_be_visible()
        await expect(question).to_contain_text("notes.txt")
        await page.reload()


async def test_a_large_image_is_made_smaller(page: Page, model: ModelServer) -> None:
    """To what models look at, and what the server takes; one that is too much beside the others is
    told, and not lost in silence."""
    attached = page.get_by_role("list", name="Attached files").get_by_role("listitem")
    await page.locator("#files").set_input_files([png(3000, 1500, is_noise=False)])
    await expect(attached).to_have_count(1)
    larger, noise = png(1200, 900, is_noise=True), png(800, 700, is_noise=True)
    await page.locator("#files").set_input_files([larger, *[noise] * 6])
    await expect(page.locator("#attach-fault")).to_contain_text("makes the message too large")
    await ask(page, "Look closely.")
    await ended(page)
    _, plain, *noisy = model.requests[-1]["messages"][-1]["content"]
    assert await image_size(page, plain) == [LONGEST_SIDE, LONGEST_SIDE // 2]
    sizes = [len(image["image_url"]["url"]) for image in noisy]
    assert all(400_000 < size < LARGEST_BASE64 + 100 for size in sizes)
    assert 2_000_000 < sum(sizes) < LARGEST_TOGETHER


async def image_size(page: Page, block: dict[str, dict[str, str]]) -> list[int]:
    blank = await page.context.new_page()  # which may fetch what the page's policy forbids
    size: list[int] = await blank.evaluate(SIZE, block["image_url"]["url"])
    await blank.close()
    return size


@pytest.mark.parametrize("way", ["paste", "drop"])
async def test_files_are_pasted_and_dropped(page: Page, model: ModelServer, way: str) -> None:
    """As well as chosen; and they stay with a message that is said differently."""
    await page.locator("#message").evaluate(
        """(it, way) => {
             const data = new DataTransfer();
             data.items.add(new File(["Buy tea."], "notes.txt", { type: "text/plain" }));
             const options = { bubbles: true, cancelable: true };
             const paste = new ClipboardEvent("paste", { ...options, clipboardData: data });
             const drop = new DragEvent("drop", { ...options, dataTransfer: data });
             it.dispatchEvent(way === "paste" ? paste : drop); }""",
        way,
    )
    await expect(page.get_by_role("button", name="Remove notes.txt")).to_be_visible()
    await ask(page, "Read it.")
    await ended(page)
    await page.get_by_role("button", name="Edit").click()
    await page.get_by_role("textbox", name="New words").fill("Read it again.")
    await page.get_by_role("button", name="Ask this instead").click()
    await expect(questions(page)).to_have_text(["Read it again."])
    await ended(page)
    text, file = model.requests[-1]["messages"][-1]["content"]
    assert text["text"] == "Read it again."
    assert "Buy tea." in file["text"]
