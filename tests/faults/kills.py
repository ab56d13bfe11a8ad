"""A server killed again and again at random moments, and what its threads are afterwards.

    python -m tests.faults.kills -n 200

Each seed has a thread of its own with finished turns on it, and is killed between two tokens,
during a tool that writes, at an interrupt, or while a checkpoint is written. The next server, in
the same folder, is asked what it holds; the run goes on, and then another turn is made.
"""

import argparse
import asyncio
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from client import AgentClient, Limits, Run, SteadyError, Token
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_script import Reply, ToolCall
from tests.model_server import ModelServer

MOMENTS = ("between tokens", "during a tool", "at an interrupt", "during a write")
ALLOWED = {
    "run_lost",
    "stream_lost",
    "connection_lost",
    "cannot_connect",
    "unavailable",
    "not_found",
}
HANG_SECONDS = 60.0
WORDS = tuple(f"{' ' if n else ''}word{n}" for n in range(40))
ANSWER = "".join(WORDS)
APPROVED = [{"type": "approve"}]


@dataclass(frozen=True)
class Kill:
    """One seed: when the server is killed, and what the reader does then."""

    seed: int

    @property
    def rng(self) -> random.Random:
        return random.Random(f"kill {self.seed}")

    @property
    def moment(self) -> str:
        return MOMENTS[self.seed % len(MOMENTS)]

    @property
    def resumes(self) -> bool:
        return self.seed // len(MOMENTS) % 3 == 0

    @property
    def is_left(self) -> bool:
        """Whether the person asks the next thing, in place of having the killed turn go on."""
        return self.seed // len(MOMENTS) % 3 == 1


class Damage(Exception):
    """What a killed server must never leave."""


@dataclass
class Bench:
    """The server that is killed and started again, its model, and where its files are."""

    server: LocalServer
    model: ModelServer
    folder: Path

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    @property
    def journal(self) -> Path:
        return self.folder / ".langgraph_api" / "threads.sqlite-wal"

    async def judge(self, kill: Kill, tell: Callable[[str], None] = lambda line: None) -> str:
        """`ok`, or what was found."""
        try:
            async with asyncio.timeout(HANG_SECONDS):
                await self._judge(kill, tell)
        except Damage as damage:
            return str(damage)
        except TimeoutError:
            return "hang"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            if self.server.process is None:
                await asyncio.to_thread(self.server.start)
        return "ok"

    async def _judge(self, kill: Kill, tell: Callable[[str], None]) -> None:
        rng, title = kill.rng, f"Seed {kill.seed}"
        finished = [f"{title}, turn {n}" for n in range(rng.randint(1, 3))]
        question, last = f"{title}, the killed one", f"{title}, the last one"
        saving = ToolCall("save_note", {"title": title, "text": "Once."})
        slow = Reply(WORDS, tokens_per_second=rng.choice([50.0, 200.0]))
        takes_note = kill.moment != "between tokens"
        steps = [Reply(tool_calls=(saving,)), slow, slow] if takes_note else [slow, slow, slow]
        self.model.on(question, *steps)
        limits = Limits(heartbeat_timeout_seconds=7.0, reconnect_seconds=40.0)
        async with AgentClient(self.server.url, limits=limits) as agent:
            thread_id = await agent.threads.create()
            for turn in finished:
                await agent.stream(turn, thread_id=thread_id).text()
            run = agent.stream(question, thread_id=thread_id, restart_lost_run=kill.resumes)
            await self._kill_in(kill, rng, agent, run, tell)
            if not kill.is_left:
                await self._go_on(agent, thread_id, question, tell)
            await agent.stream(last, thread_id=thread_id, multitask_strategy="enqueue").text()
            said = await agent.threads.messages(thread_id)
        tell(f"{[(m['type'], m['content'][:40]) for m in said]}")
        asked = question in [m["content"] for m in said if m["type"] == "human"]
        killed = [question] if asked or not kill.is_left else []
        _check(said, [*finished, *killed, last], [*finished, last])
        if not kill.is_left:
            _check_answer(said)
        self._check_notes(title, said, takes_note)

    async def _kill_in(
        self, kill: Kill, rng: random.Random, agent: AgentClient, run: Run, tell: Any
    ) -> None:
        """The run is read until the moment; then the server dies, and the next one starts."""
        enough = rng.uniform(0, 0.95) * len(ANSWER) if kill.moment == "between tokens" else math.inf
        writes = rng.randint(1, 12)
        heard = 0
        watched: asyncio.Task[None] | None = None
        if kill.moment == "during a write":
            watched = asyncio.create_task(asyncio.to_thread(self._kill_at_write, writes))
        try:
            async for event in run:
                heard += len(event.content) if isinstance(event, Token) else 0
                if heard > enough:
                    enough = math.inf
                    await self._restart(tell, kill)
            if kill.moment == "at an interrupt":
                await asyncio.sleep(rng.uniform(0, 0.02))
                await self._restart(tell, kill)
            elif run.interrupts:
                rest = agent.decide(str(run.thread_id), run.interrupts[0].id, APPROVED)
                if kill.moment == "during a tool":
                    late = rng.uniform(0, 0.01)
                    watched = asyncio.create_task(asyncio.to_thread(self._kill_at_note, late))
                await rest.text()
        except SteadyError as error:
            tell(f"{type(error).__name__}: {error.message}")
            if error.code not in ALLOWED:
                raise
        if watched is not None:
            await watched
        if self.server.process is None:
            await asyncio.to_thread(self.server.start)

    async def _restart(self, tell: Any, kill: Kill) -> None:
        await asyncio.to_thread(self.server.kill)
        tell(f"killed {kill.moment}")
        await asyncio.to_thread(self.server.start)

    def _kill_at_note(self, late_seconds: float) -> None:
        """When a note has appeared, or so soon after that its result may not be written."""
        before = len(list(self.notes.glob("*.md")))
        _until(lambda: len(list(self.notes.glob("*.md"))) > before)
        time.sleep(late_seconds)  # the random moment itself: nothing is waited for
        self.server.kill()
        self.server.start()

    def _kill_at_write(self, writes: int) -> None:
        """At the n-th change of the database's journal."""
        last = _size(self.journal)
        for _ in range(writes):
            with suppress(TimeoutError):
                _until(lambda at=last: _size(self.journal) != at, 1.0)  # type: ignore[misc]
            last = _size(self.journal)
        self.server.kill()
        self.server.start()

    async def _go_on(
        self, agent: AgentClient, thread_id: str, question: str, tell: Callable[[str], None]
    ) -> None:
        """Until the killed turn has its answer: what a person would do who looks at the thread."""
        for _ in range(5):
            runs = await agent.runs.list(thread_id)
            active = [run for run in runs if run["status"] in ("pending", "running")]
            state: Any = await agent.sdk.threads.get_state(thread_id)
            asked = [m["content"] for m in (state["values"] or {}).get("messages", ())]
            with suppress(SteadyError):
                if active:
                    await agent.runs.join(thread_id, active[0]["run_id"]).text()
                elif waiting := await agent.threads.interrupts(thread_id):
                    await agent.decide(thread_id, waiting[0].id, APPROVED).text()
                elif state["tasks"]:
                    tell("resumed")
                    await agent.continue_run(thread_id).text()
                elif question not in asked:
                    tell("asked again")
                    await agent.stream(question, thread_id=thread_id).text()
                else:
                    return
        raise Damage("thread damaged: it does not come to rest")

    def _check_notes(self, title: str, said: list[Any], takes_note: bool) -> None:
        head = f"# {title}"
        notes = [p for p in self.notes.glob("*.md") if p.read_text().split("\n")[0] == head]
        if len(notes) > 1:
            raise Damage(f"effect doubled: {len(notes)} notes")
        results = [m for m in said if m["type"] == "tool"]
        if not takes_note:
            return
        if bool(notes) != any(m.get("status") != "error" for m in results):
            told = [m["content"] for m in results]
            unsure = any("may or may not have taken effect" in words for words in told)
            if not unsure:
                raise Damage(f"effect not as told: {len(notes)} notes, {told}")


def _check(said: list[Any], questions: list[str], answered: list[str]) -> None:
    """Raises Damage unless each question is there once, in order, answered, and each call too."""
    asked = [m["content"] for m in said if m["type"] == "human"]
    if asked != questions:
        raise Damage(f"turn lost or doubled: {asked}")
    for before, after in pairwise(said):
        told = f"You said: {before['content']}"
        if before["content"] in answered and after["content"] != told:
            raise Damage(f"answer lost: {after['content'][:80]!r}")
    calls = [call["id"] for m in said for call in m.get("tool_calls") or ()]
    results = [m["tool_call_id"] for m in said if m["type"] == "tool"]
    if sorted(calls) != sorted(results):
        raise Damage(f"thread damaged: calls {calls}, results {results}")


def _check_answer(said: list[Any]) -> None:
    ends = [m["content"] for m in said if m["type"] == "ai" and not m.get("tool_calls")]
    if ends[-2] != ANSWER:
        raise Damage(f"answer damaged: {ends[-2][:80]!r}")


def _until(happened: Callable[[], bool], limit_seconds: float = 20.0) -> None:
    end = time.monotonic() + limit_seconds
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.0005)


def _size(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


async def series(seeds: range) -> Counter[str]:
    """Judges the seeds one after another on one folder; what was found, by moment."""
    found: Counter[str] = Counter()
    with ModelServer() as model, TemporaryDirectory(prefix="steady-kills-") as name:
        folder = Path(name)
        env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"))
        server = LocalServer(find_config(Path(__file__)), env=env, folder=folder)
        await asyncio.to_thread(server.start)
        try:
            bench = Bench(server, model, folder)
            for seed in seeds:
                kill = Kill(seed)
                began = time.monotonic()
                told: list[str] = []
                verdict = await bench.judge(kill, told.append)
                print(f"{seed:4} {kill.moment:16} {time.monotonic() - began:5.1f} s  {verdict}")
                if verdict != "ok" or len(seeds) == 1:
                    print(*told, sep="\n")
                found[f"{kill.moment}: {verdict}"] += 1
        finally:
            await asyncio.to_thread(server.stop)
            server.log.unlink(missing_ok=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=200, help="how many kills")
    parser.add_argument("--seed", type=int, help="one seed, step by step")
    chosen = parser.parse_args()
    first, count = (0, chosen.n) if chosen.seed is None else (chosen.seed, 1)
    found = asyncio.run(series(range(first, first + count)))
    for verdict, count in sorted(found.items()):
        print(f"{count:5}  {verdict}")
    sys.exit(any(not verdict.endswith(": ok") for verdict in found))


if __name__ == "__main__":
    main()
