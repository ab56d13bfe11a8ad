"""The page, on a thread that is longer than what the model is sent."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from tests.browser.conftest import Open
from tests.browser.test_page import answers, ask, ended
from tests.conftest import server_env
from tests.model_server import ModelServer

LONG = "word " * 100
MESSAGES = [{"role": role, "content": f"{n} {LONG}"} for n in range(4) for role in ("user", "ai")]


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("trim", "The model is not sent the 4 oldest messages: the conversation is longer"),
        ("summarize", "The 4 oldest messages are sent to the model as a summary."),
    ],
)
async def test_what_becomes_of_old_turns_is_told(
    open_page: Open, model: ModelServer, tmp_path: Path, setting: str, line: str
) -> None:
    """The turn in which they go has a line for it, and the next one, where none goes, has not."""
    env = server_env(model.url, STEADY_CONTEXT_TOKENS="1000", STEADY_HISTORY=setting)
    with LocalServer(find_config(Path(__file__)), env=env, folder=tmp_path) as server:
        async with AgentClient(server.url) as agent:
            thread_id = await agent.threads.create({"graph_id": "agent"})
            state = {"messages": MESSAGES}
            await agent.sdk.threads.update_state(thread_id, state, as_node="__start__")
        page = await open_page(server.url, f"#{thread_id}")
        await expect(answers(page).nth(3)).to_be_visible()  # else the page reads the thread again
        await ask(page, "And now?")
        await ended(page)
        await expect(answers(page).last.locator(".history")).to_contain_text(line)
        await ask(page, "And then?")
        await expect(answers(page).last).to_contain_text("You said: And then?")
        await expect(page.locator(".history")).to_have_count(1)
