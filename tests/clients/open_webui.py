"""Open WebUI, as its makers' package has it, in a real Chromium, on this server's `/v1`.

    make open-webui      installs it in an environment of its own, and says what works

A chat, an answer stopped in the middle, a call of the agent's own tool, an answer that is
regenerated; and what it asks beside a chat (title, tags, questions to go on with) is no part of it.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Locator, Page, async_playwright, expect

from client import AgentClient
from client.cli.local_server import LocalServer, find_config, free_port
from tests.browser.conftest import chromium
from tests.clients.environments import HERE
from tests.conftest import server_env
from tests.model_server import ModelServer, RecordedRequest, Reply, ToolCall

JSON = dict[str, Any]
PROGRAM = find_config(HERE).parent / ".venv-openwebui/bin/open-webui"
START_SECONDS = 180.0
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)

CALCULATES = "What is seventeen times twenty-three?"
AGAIN = "Say it in other words."
STREAMS = "stream 60 tokens at 40 per second"
LONG = "stream 400 tokens at 40 per second"
TITLE = "A product of two numbers"
# The settings of the README. Headers are filled in by Open WebUI, for each request.
HEADERS = {"X-OpenWebUI-Chat-Id": "{{CHAT_ID}}", "X-OpenWebUI-Task": "{{TASK}}"}
SETTINGS = {
    "OPENAI_API_CONFIGS": json.dumps({"0": {"headers": HEADERS}}),
    "DEFAULT_MODEL_PARAMS": json.dumps({"function_calling": "legacy"}),
    "TASK_MODEL_EXTERNAL": "chat",
    "TASK_MODEL_PARAMS": json.dumps({"temperature": 0}),
    "DEFAULT_MODELS": "agent",
    "ENABLE_OLLAMA_API": "false",
}
# It asks nobody for passwords, and downloads nothing.
ALONE = {"WEBUI_AUTH": "false", "OFFLINE_MODE": "true", "RAG_EMBEDDING_ENGINE": "openai"}


@contextmanager
def open_webui(api: str, folder: Path) -> Iterator[str]:
    """Runs Open WebUI on an empty folder; gives its address."""
    port = free_port()
    env = {**os.environ, **ALONE, **SETTINGS, "DATA_DIR": str(folder), "WEBUI_SECRET_KEY": "tests"}
    env |= {"OPENAI_API_BASE_URL": api, "OPENAI_API_KEY": "any"}
    command = [str(PROGRAM), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(f"{url}/health", process, folder / "log")
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    sys.exit(f"Open WebUI did not start: {log.read_text(errors='replace')[-3000:]}")


class Visit:
    """One person, who does what the methods say, each in a new chat or on the last one."""

    def __init__(self, page: Page, url: str, agent: AgentClient, model: ModelServer) -> None:
        self._page, self._url, self._agent, self._model = page, url, agent, model
        self._tasks, self._begun_with = list[str](), ""
        model.judge = self._script_task

    def _script_task(self, request: RecordedRequest) -> None:
        """Has the model answer what Open WebUI asks beside the chat, in the form that it wants."""
        text = str(request["messages"][-1]["content"])
        if text.startswith("### Task:"):
            self._tasks.append(text)
            wanted = {"title": TITLE, "tags": ["Arithmetic"], "follow_ups": ["And by 24?"]}
            self._model.on(text, Reply(json.dumps(wanted)))

    async def chat(self) -> None:
        """An answer is on the page while it is written, and whole at its end."""
        await self._ask(STREAMS)
        await expect(self._answer).to_contain_text("word5 ")
        assert "word59" not in await self._answer.inner_text()
        await expect(self._answer).to_contain_text(" ".join(f"word{n}" for n in range(60)))
        await self._idle()

    async def stop(self) -> None:
        """An answer that is stopped in the middle keeps its text: on the page, on the thread."""
        await self._ask(LONG)
        await expect(self._answer).to_contain_text("word30 ")
        await self._page.get_by_role("button", name="Stop").click()
        await self._idle()
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while (kept := (await self._messages())[-1])["type"] != "ai":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert kept["response_metadata"]["finish_reason"] == "stopped", kept
        await self._page.reload()
        shown = (await self._answer.inner_text()).strip()
        assert "word30" in shown, shown
        assert "word399" not in shown
        assert kept["content"].startswith(shown), (kept["content"], shown)

    async def tool(self) -> None:
        """The agent calls its own tool, and the answer has what the model makes of it."""
        call = ToolCall("calculate", {"expression": "17*23"})
        asks = Reply("Let me calculate.", reasoning="Seventeen times.", tool_calls=[call])
        self._model.on(CALCULATES, asks, Reply("Seventeen times twenty-three is **391**."))
        await self._ask(CALCULATES)
        await expect(self._answer).to_contain_text("Seventeen times twenty-three is 391.")
        await expect(self._answer).to_contain_text("Let me calculate.")
        await self._idle()
        messages = await self._messages()
        assert [m["type"] for m in messages] == ["human", "ai", "tool", "ai"], messages
        assert messages[2]["content"] == "17*23 = 391"

    async def next_turn(self) -> None:
        """The next question goes to the same thread, which has the tool's result."""
        self._model.on(AGAIN, Reply("It is three hundred and ninety-one."))
        await self._ask(AGAIN, is_new=False)
        await expect(self._answer).to_contain_text("three hundred and ninety-one")
        await self._idle()
        assert [m["type"] for m in await self._messages()][-2:] == ["human", "ai"]
        assert "tool" in [m["type"] for m in await self._messages()]

    async def regenerate(self) -> None:
        """The last question is answered anew, in the place of its first answer."""
        self._model.on(AGAIN, Reply("Ten less than four hundred and one."))
        await self._page.get_by_role("button", name="Regenerate").last.click()
        await self._page.get_by_text("Try Again", exact=True).click()
        await expect(self._answer).to_contain_text("four hundred and one")
        await self._idle()
        assert [m["content"] for m in (await self._messages())[-2:]] == [
            AGAIN,
            "Ten less than four hundred and one.",
        ]

    async def beside(self) -> None:
        """Titles, tags and more questions are asked for, shown, and on no thread."""
        await expect(self._page.get_by_text(TITLE).first).to_be_visible()
        assert self._tasks
        for thread in await self._agent.threads.list(100):
            for message in await self._agent.threads.messages(thread["thread_id"]):
                assert "### Task:" not in str(message["content"])

    async def picture(self, path: Path) -> None:
        await self._page.mouse.move(5, 300)
        await expect(self._page.locator("[data-tippy-root]")).to_have_count(0)
        await self._page.screenshot(path=path)

    @property
    def _answer(self) -> Locator:
        return self._page.locator(".chat-assistant").last

    async def _ask(self, text: str, *, is_new: bool = True) -> None:
        if is_new:
            self._begun_with = text
            await self._page.goto(self._url)
        entry = self._page.locator("#chat-input")
        await entry.wait_for()
        await self._page.add_locator_handler(
            self._page.get_by_role("button", name="Okay, Let's Go!"), lambda button: button.click()
        )
        await entry.click()
        await self._page.keyboard.insert_text(text)
        await self._page.keyboard.press("Enter")

    async def _idle(self) -> None:
        await expect(self._page.get_by_role("button", name="Regenerate").last).to_be_visible()
        await expect(self._page.get_by_role("button", name="Stop")).to_have_count(0)

    async def _messages(self) -> list[JSON]:
        """What the thread of the chat has."""
        for thread in await self._agent.threads.list(100):
            messages = await self._agent.threads.messages(thread["thread_id"])
            if messages and messages[0]["content"] == self._begun_with:
                return messages
        return [{"type": "none"}]


async def visit(picture: Path | None) -> bool:
    """Whether everything works, which is printed, one line each."""
    with (
        TemporaryDirectory() as ours,
        TemporaryDirectory() as theirs,
        ModelServer(tokens_per_second=50) as model,
    ):
        env = server_env(model.url)
        with (
            LocalServer(find_config(HERE), env=env, folder=Path(ours)) as server,
            open_webui(f"{server.url}/v1", Path(theirs)) as url,
        ):
            async with AgentClient(server.url) as agent, async_playwright() as playwright:
                browser = await playwright.chromium.launch(
                    executable_path=chromium(), args=["--no-sandbox", "--disable-dev-shm-usage"]
                )
                page = await browser.new_page(viewport={"width": 1000, "height": 720})
                page.set_default_timeout(PATIENCE_MS)
                person = Visit(page, url, agent, model)
                acts = [person.chat, person.stop, person.tool, person.next_turn]
                worked = [await _tried(act) for act in [*acts, person.regenerate, person.beside]]
                if picture:
                    await person.picture(picture)
                await browser.close()
    return all(worked)


async def _tried(act: Callable[[], Awaitable[None]]) -> bool:
    name = act.__name__.replace("_", " ")
    try:
        await act()
    except (AssertionError, PlaywrightError, TimeoutError) as error:
        print(f"FAIL  {name}: {error}", flush=True)
        return False
    print(f"pass  {name}", flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.clients.open_webui")
    parser.add_argument("--picture", type=Path, help="where to write a picture of the last chat")
    if not PROGRAM.exists():
        sys.exit("Open WebUI is not installed: run `make open-webui`.")
    sys.exit(not asyncio.run(visit(parser.parse_args().picture)))


if __name__ == "__main__":
    main()
