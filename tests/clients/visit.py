"""A person who tries chat front ends of other makers for a while, as the dice of a seed fall.

    python -m tests.clients.visit --minutes 10 --seed 1      each front end in turn, in Chromium

Long answers, tools, approvals, stops, edits, regenerated answers, pages loaded again in the middle
of an answer, a second tab, and cut connections. Each word of the model has a number, so that after
each act, and while an answer is written, the page tells by itself what is lost, doubled or out of
order; at the end of an act it must show what the thread holds.
"""

import argparse
import asyncio
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import h11
from playwright.async_api import BrowserContext, Page, async_playwright, expect
from playwright.async_api import Error as PlaywrightError

from client import AgentClient
from client.cli.local_server import LocalServer, find_config
from client.decoding.messages import text_of
from tests.browser.conftest import chromium
from tests.clients.environments import HERE, served
from tests.conftest import server_env
from tests.faults.plan import Kind, NetFault
from tests.faults.proxy import Proxy
from tests.model_server import ModelServer, Reply, ToolCall

FRONT_ENDS = ("useStream v0", "useStream v1", "create-agent-chat-app")
_WORD = re.compile(r"\bq(\d+)w(\d+)\b")
_STREAM = re.compile(rb"/(stream|events)(\?|$)")
_LOOK_SECONDS = 0.15
PATIENCE_SECONDS = 45.0
PATIENCE_MS = 1000 * PATIENCE_SECONDS
LAUNCH = ["--no-sandbox", "--disable-dev-shm-usage"]

Words = dict[int, list[int]]  # of each answer on a page, by its question's number


def words_in(text: str) -> Words:
    """The numbers of the words, in the order in which the text has them."""
    found: Words = defaultdict(list)
    for question, word in _WORD.findall(text):
        found[int(question)].append(int(word))
    return dict(found)


class Wrong(Exception):
    """What no page may show."""


class Cuts:
    """Chooses the faults of a proxy: cuts the next event stream where it was told to."""

    def __init__(self) -> None:
        self.next: list[NetFault] = []

    def __call__(self, request: h11.Request, body: bytes) -> NetFault | None:
        return self.next.pop() if self.next and _STREAM.search(request.target) else None


class FrontEnd:
    """The small application of `app/`, with `useStream` of one generation.

    Known of v1: it reads nothing after a stop, and replays what it has read when it is loaded again
    in the middle of an answer, so that the last words of a stopped answer may be missing. Known of
    v0: a second tab follows no run that another one began, and a response that ends cleanly is the
    run's end.
    """

    acts: tuple[str, ...] = ("ask", "tool", "approve", "stop", "reload", "second_tab", "cut")
    cuts: tuple[Kind, ...] = ("rst", "fin", "stall")
    address_of_thread, stop_button, entry = "thread", "Stop", "input"

    def __init__(self, name: str, page: Page, app: str, url: str) -> None:
        self.page = page
        hook = name[-2:]
        self.drops_end_of_stopped = self.tab_follows = hook == "v1"
        self.loads_after_stop = self.loads_after_cut = False
        if hook == "v1":
            self.cuts = (*self.cuts, "end", "end_mid")
        self.address = f"{app}/?{urlencode({'hook': hook, 'api': url, 'reconnect': '1'})}"

    @property
    def thread_id(self) -> str:
        return parse_qs(urlsplit(self.page.url).query)[self.address_of_thread][0]

    async def say(self, text: str) -> None:
        await self.page.locator(self.entry).last.fill(text)
        await self.page.get_by_role("button", name="Send").click()

    async def words(self) -> Words:
        return words_in("\n".join(await self.page.locator("main > p").all_inner_texts()))

    async def idle(self) -> None:
        await expect(self.page.locator("main[data-loading=false]")).to_be_visible(
            timeout=PATIENCE_MS
        )

    async def decide(self, agent: AgentClient, decision: dict[str, Any]) -> None:
        await expect(self.page.locator("#interrupt")).to_be_visible(timeout=PATIENCE_MS)
        await self.page.evaluate("decision => void window.chat.decide([decision])", decision)


class ChatApp(FrontEnd):
    """What `npm create agent-chat-app` makes.

    Known of it (SDK 0.0.57): after a stop it goes on from the state before, and a cut or a load
    ends its answer, perhaps before the first word: it has the server cancel the run of a reader who
    is gone. It cannot answer a request for approval.
    """

    acts = ("ask", "tool", "approve", "stop", "reload", "cut", "edit", "regenerate")
    address_of_thread, stop_button, entry = "threadId", "Cancel", "textarea"

    def __init__(self, name: str, page: Page, app: str, url: str) -> None:
        super().__init__(name, page, app, url)
        self.loads_after_stop = self.loads_after_cut = True
        self.drops_end_of_stopped = False
        query = {"apiUrl": url, "assistantId": "agent", "hideToolCalls": "true"}
        self.address = f"{app}/?{urlencode(query)}"

    async def words(self) -> Words:
        return words_in(await self.page.locator("body").inner_text())

    async def idle(self) -> None:
        await expect(self.page.get_by_role("button", name="Send")).to_be_visible(
            timeout=PATIENCE_MS
        )

    async def decide(self, agent: AgentClient, decision: dict[str, Any]) -> None:
        await self.idle()
        (waiting,) = await agent.threads.interrupts(self.thread_id)
        await agent.decide(self.thread_id, waiting.id, [decision]).text()
        await self.page.reload()

    async def edit(self, text: str) -> None:
        await self.page.get_by_role("button", name="Edit").last.dispatch_event("click")
        await self.page.locator("textarea").first.fill(text)
        await self.page.get_by_role("button", name="Submit").dispatch_event("click")

    async def regenerate(self) -> None:
        await self.page.get_by_role("button", name="Refresh").last.click(force=True)


class Visit:
    """One person on one front end."""

    def __init__(
        self, front: FrontEnd, agent: AgentClient, model: ModelServer, cuts: Cuts, seed: int
    ) -> None:
        self._front, self._agent, self._model, self._cuts = front, agent, model, cuts
        self._rng = random.Random(f"{type(front).__name__} {front.address[-30:]} {seed}")
        self._question = 100 * seed
        self._may_lack_end = set[int]()
        self.done = Counter[str]()

    async def act(self, act: str = "") -> None:
        """Does one thing, of those that the front end offers. Raises Wrong."""
        act = act or self._rng.choice(self._front.acts)
        looking = asyncio.create_task(self._look())
        try:
            await getattr(self, f"_{act}")()
            await self._settle(act)
            if looking.done():
                looking.result()
        except Exception as error:
            raise Wrong(f"{act}, question {self._question}: {error!r}") from error
        finally:
            looking.cancel()
            await asyncio.wait({looking})
        self.done[act] += 1

    def _script(self, *before: Reply, words: int = 0, begins: int = 0) -> str:
        """A question of its own, and its answer after these replies."""
        rng, count = self._rng, words or self._rng.randrange(20, 160)
        answer = Reply(self._words(begins, count), tokens_per_second=rng.choice([60.0, 120.0]))
        self._model.on(f"Question {self._question}.", *before, answer)
        return f"Question {self._question}."

    def _words(self, first: int, count: int) -> tuple[str, ...]:
        return tuple(f"q{self._question}w{number} " for number in range(first, first + count))

    async def _ask(self, **options: int) -> None:
        self._question += 1
        await self._front.say(self._script(**options))

    async def _ask_and_wait(self, **options: int) -> None:
        """Until the answer has some words on the page."""
        await self._ask(**options)
        some = self._rng.randrange(1, 30)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len((await self._front.words()).get(self._question, ())) < some:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def _tool(self) -> None:
        self._question += 1
        call = ToolCall("calculate", {"expression": "6*7"})
        spoken = Reply(self._words(0, 10), tool_calls=[call], tokens_per_second=60.0)
        await self._front.say(self._script(spoken, begins=10))

    async def _approve(self) -> None:
        self._question += 1
        note = {"title": f"Note {self._question}", "text": "One."}
        waiting = Reply(tool_calls=[ToolCall("save_note", note)])
        await self._front.say(self._script(waiting))
        edited = {"name": "save_note", "args": {**note, "text": "Two."}}
        decisions: list[dict[str, Any]] = [
            {"type": "approve"},
            {"type": "reject", "message": "Not now."},
            {"type": "edit", "edited_action": edited},
        ]
        await self._front.decide(self._agent, self._rng.choice(decisions))

    async def _stop(self) -> None:
        await self._ask_and_wait(words=600)
        stop = self._front.page.get_by_role("button", name=self._front.stop_button)
        await stop.dispatch_event("click")  # the page may not come to rest while it is written
        await self._front.idle()
        if self._front.drops_end_of_stopped:
            self._may_lack_end.add(self._question)
        if self._front.loads_after_stop:
            await self._wait_for_runs()
            await self._front.page.reload()

    async def _reload(self) -> None:
        await self._ask_and_wait(words=200)
        await self._front.page.reload()
        await self._load_where_needed()

    async def _second_tab(self) -> None:
        await self._ask_and_wait(words=200)
        first, tab = self._front.page, await self._front.page.context.new_page()
        await tab.goto(first.url)
        if self._front.tab_follows:
            self._front.page = tab
            await self._settle("second tab")
        self._front.page = first
        await self._front.idle()
        await tab.reload()
        self._front.page = tab
        await self._settle("second tab, loaded again")
        self._front.page = first
        await tab.close()

    async def _cut(self) -> None:
        kind = self._rng.choice(self._front.cuts)
        places = (self._rng.randrange(300, 9000) for _ in range(self._rng.randrange(1, 4)))
        self._cuts.next = [NetFault(kind, at, seconds=0.3) for at in places]
        await self._ask(words=150)
        await self._load_where_needed()

    async def _edit(self) -> None:
        if not await self._front.words():
            return await self._ask()
        self._question += 1
        assert isinstance(self._front, ChatApp)
        await self._front.edit(self._script())

    async def _regenerate(self) -> None:
        if not await self._front.words():
            return await self._ask()
        assert isinstance(self._front, ChatApp)
        await self._front.regenerate()

    async def _load_where_needed(self) -> None:
        if self._front.loads_after_cut:
            await self._wait_for_runs()
            self._cuts.next = []  # one that is left would end the answer of another act
            await self._front.page.reload()

    async def _wait_for_runs(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._front.page.wait_for_url(f"**{self._front.address_of_thread}=**")
            thread_id = self._front.thread_id
            while await self._agent.sdk.runs.list(thread_id, status="running"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _look(self) -> None:
        """Each answer on the page is the beginning of what the model says."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with suppress(PlaywrightError):  # the page is being loaded
                _check(await self._front.words())

    async def _settle(self, act: str) -> None:
        """At rest, the page shows the thread's answers."""
        await self._front.idle()
        page, thread = Words(), Words()
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            page = await self._front.words()
            messages = await self._agent.threads.messages(self._front.thread_id)
            thread = words_in("\n".join(text_of(m) for m in messages if m["type"] == "ai"))
            is_answered = self._question in thread or (act == "cut" and self._front.loads_after_cut)
            if self._is_whole(page, thread) and is_answered:
                return _check(page)
            await asyncio.sleep(0.1)
        raise Wrong(f"after {act} the page has {_sizes(page)}, the thread {_sizes(thread)}")

    def _is_whole(self, page: Words, thread: Words) -> bool:
        may_lack = {question: page.get(question) for question in self._may_lack_end}
        return page.keys() == thread.keys() and page == {**thread, **may_lack}


def _check(words: Words) -> None:
    for question, numbers in words.items():
        if numbers != list(range(len(numbers))):
            raise Wrong(f"the answer to question {question} reads {numbers}")


def _sizes(words: Words) -> dict[int, int]:
    return {question: len(numbers) for question, numbers in words.items()}


async def visit(
    name: str, context: BrowserContext, app: str, server: LocalServer, model: ModelServer, seed: int
) -> AsyncIterator[Visit]:
    """A person who has just opened a front end, behind a network that may be cut."""
    cuts = Cuts()
    page = await context.new_page()
    async with Proxy(server.url, cuts) as proxy, AgentClient(server.url) as agent:
        front = (ChatApp if name == FRONT_ENDS[-1] else FrontEnd)(name, page, app, proxy.url)
        await page.goto(front.address)
        yield Visit(front, agent, model, cuts, seed)
    await page.close()


BUILT = {
    **dict.fromkeys(FRONT_ENDS[:-1], HERE / "app/build"),
    FRONT_ENDS[-1]: HERE / "chat_app/build/dist",
}


async def _series(server: LocalServer, model: ModelServer, options: argparse.Namespace) -> int:
    failures, seed = 0, options.seed
    end = time.monotonic() + 60 * options.minutes
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=LAUNCH)
        while seed == options.seed or time.monotonic() < end:
            for name in FRONT_ENDS:
                context = await browser.new_context(viewport={"width": 1280, "height": 800})
                context.set_default_timeout(PATIENCE_MS)
                with served(BUILT[name]) as app:
                    async with asynccontextmanager(visit)(
                        name, context, app, server, model, seed
                    ) as one:
                        try:
                            for _ in range(options.acts):
                                await one.act()
                        except Wrong as wrong:
                            failures += 1
                            print(f"{name}, seed {seed}: {wrong}", flush=True)
                        if options.pictures:
                            picture = options.pictures / f"{name} {seed}.png"
                            await one._front.page.screenshot(path=picture)
                    print(f"{name}, seed {seed}: {dict(one.done)}", flush=True)
                await context.close()
            seed += 1
        await browser.close()
    return failures


def main() -> int:
    """How many visits went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients.visit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--acts", type=int, default=12, help="of one visit (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first (default %(default)s)")
    parser.add_argument("--pictures", type=Path, help="a folder for a picture of each visit's end")
    options = parser.parse_args()
    with ModelServer() as model, TemporaryDirectory(prefix="visit-") as folder:
        env = server_env(model.url, STEADY_NOTES_DIR=f"{folder}/notes")
        with LocalServer(find_config(HERE), env=env, folder=Path(folder)) as server:
            return asyncio.run(_series(server, model, options))


if __name__ == "__main__":
    sys.exit(min(main(), 1))
