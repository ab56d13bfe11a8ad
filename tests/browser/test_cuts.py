"""The page on a network that breaks its connections, over both of its transports."""

import asyncio
import random

import pytest
from playwright.async_api import BrowserContext, expect

from client.cli.local_server import LocalServer
from tests.browser.test_page import answers, ask, ended, questions, stream_over
from tests.cuts import Cuts
from tests.model_server import ModelServer, Reply, ToolCall

CALL = ToolCall("calculate", {"expression": "17 * 23"})
FIRST = Reply(("Let", " me", " see."), tool_calls=[CALL])


@pytest.mark.parametrize("transport", ["sse", "websocket"])
@pytest.mark.usefixtures("quiet_model")
async def test_each_answer_is_whole(
    transport: str, context: BrowserContext, server: LocalServer, model: ModelServer
) -> None:
    """Whatever breaks, each word is shown once, each question is asked once, and none is lost."""

    async def answered(seed: int) -> int:
        chance = random.Random(seed)
        question = f"What is 17 x 23, over {transport}, {seed}?"
        words = [f"word{number}" for number in range(chance.choice((20, 60, 200)))]
        rate = chance.choice((40, 100, 300))
        last = Reply(tuple(f"{word} " for word in words), tokens_per_second=rate)
        model.on(question, *[FIRST] * chance.randrange(2), last)
        async with Cuts(server.url, seed) as network:
            page = await context.new_page()
            await page.goto(network.url)
            await stream_over(page, transport)
            network.left = chance.choice((2, 4, 8))
            await ask(page, question)
            await ended(page)
            network.left = 0
            await expect(answers(page).locator(".text").last).to_have_text(" ".join(words))
            await expect(questions(page)).to_have_text([question])
            await page.close()
        return len(network.done)

    done = await asyncio.gather(*map(answered, range(6)))
    assert sum(done) > len(done)
