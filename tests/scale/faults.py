"""Two processes behind a balancer, and what happens to streams when parts of it fail.

    python -m tests.scale.faults -n 100

Each seed has three streams at once through the balancer: a long answer, one with a tool, and one
whose tool writes after a person's approval. Meanwhile a process is killed, told to end, frozen or
parted from its storage for longer than its lease, connections are cut, or Redis or PostgreSQL is
restarted. Each stream has to end `done` with its whole text, and the thread has to hold everything
once.
"""

import argparse
import asyncio
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from client import (
    AgentClient,
    CannotConnect,
    ConnectionLost,
    Done,
    Limits,
    Retry,
    Run,
    Token,
    Unavailable,
)
from client.events import AgentEvent
from tests.conftest import server_env
from tests.model_script import Reply, ToolCall
from tests.model_server import ModelServer
from tests.scale.cluster import Cluster, not_possible, running

KINDS = ("kill", "cut", "redis restart", "end", "postgres restart", "part", "cut", "freeze")
HANG_SECONDS = 120.0
AWAY_SECONDS = 12.0  # longer than a lease
WORDS = tuple(f"{' ' if n else ''}word{n}" for n in range(120))
ANSWER = "".join(WORDS)
APPROVED = [{"type": "approve"}]
UNSURE = "may or may not have taken effect"


class Damage(Exception):
    """What must never be."""


class Heard:
    """A stream's tokens, without what a `retry` discards."""

    def __init__(self) -> None:
        self.text: dict[str, str] = {}
        self.retries = 0
        self.ends = 0

    def take(self, event: AgentEvent) -> None:
        match event:
            case Token(content=content, message_id=at):
                self.text[at] = self.text.get(at, "") + content
            case Retry(message_id=at):
                self.retries += 1
                self.text.pop(at, None)
            case Done():
                self.ends += 1


class Series:
    """Seeds on one cluster, one after the other."""

    def __init__(self, cluster: Cluster, model: ModelServer) -> None:
        self._cluster = cluster
        self._model = model

    async def judge(self, seed: int) -> str:
        """`ok`, or what was found."""
        rng = random.Random(f"scale {seed}")
        limits = Limits(heartbeat_timeout_seconds=8.0, reconnect_seconds=60.0, connect_seconds=60.0)
        async with AgentClient(self._cluster.url, limits=limits) as agent:
            at_work = {
                "long": self._long(agent, seed),
                "tool": self._tool(agent, seed),
                "note": self._note(agent, seed),
                "fault": self._fault(KINDS[seed % len(KINDS)], rng),
            }
            tasks = [asyncio.create_task(work, name=name) for name, work in at_work.items()]
            _, late = await asyncio.wait(tasks, timeout=HANG_SECONDS)
            for task in late:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(process.ready() for process in self._cluster.processes))
        wrong = [
            f"{task.get_name()}: {'hang' if task in late else f'{type(end).__name__}: {end}'}"
            for task, end in zip(tasks, ends, strict=True)
            if isinstance(end, BaseException)
        ]
        return "; ".join(wrong) or "ok"

    async def _fault(self, kind: str, rng: random.Random) -> None:
        cluster, process = self._cluster, rng.choice(self._cluster.processes)
        await asyncio.sleep(rng.uniform(0.05, 2.5))  # the random moment itself
        match kind:
            case "kill" | "end":
                await process.end(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
                process.start()
            case "cut":
                cluster.balancer.cut()
            case "redis restart":
                await asyncio.to_thread(cluster.redis.restart)
            case "postgres restart":
                await asyncio.to_thread(cluster.postgres.restart)
            case "freeze" if process.process:
                process.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(AWAY_SECONDS)
                process.process.send_signal(signal.SIGCONT)
            case "part":
                for link in cluster.links[process]:
                    link.hold()
                await asyncio.sleep(AWAY_SECONDS)
                for link in cluster.links[process]:
                    link.release()

    async def _long(self, agent: AgentClient, seed: int) -> None:
        question = f"Seed {seed}, long"
        self._model.on(question, *[Reply(WORDS, tokens_per_second=50.0)] * 5)
        thread_id, _ = await _whole(agent, agent.stream(question), ANSWER)
        check(await kept(agent, thread_id), [question], ANSWER)

    async def _tool(self, agent: AgentClient, seed: int) -> None:
        question = f"Seed {seed}, tool"
        asking = Reply(tool_calls=(ToolCall("calculate", {"expression": f"{seed} + 1"}),))
        self._model.on(question, asking, Reply(WORDS, tokens_per_second=100.0))
        thread_id, _ = await _whole(agent, agent.stream(question), ANSWER)
        said = await kept(agent, thread_id)
        check(said, [question], ANSWER)
        if [m["content"] for m in said if m["type"] == "tool"] != [f"{seed} + 1 = {seed + 1}"]:
            raise Damage(f"tool result: {said}")

    async def _note(self, agent: AgentClient, seed: int) -> None:
        question, title = f"Seed {seed}, note", f"Scale seed {seed}"
        saving = ToolCall("save_note", {"title": title, "text": "Once."})
        self._model.on(question, Reply(tool_calls=(saving,)), Reply("Seen."))
        run = agent.stream(question)
        async with run:
            async for _ in run:
                pass
        rest = agent.decide(str(run.thread_id), run.interrupts[0].id, APPROVED)
        thread_id, _ = await _whole(agent, rest, "Seen.")
        said = await kept(agent, thread_id)
        check(said, [question], "Seen.")
        notes = list((self._cluster.folder / "notes").glob(f"scale-seed-{seed}*.md"))
        notes = [note for note in notes if note.stem.split("-")[2] == str(seed)]
        results = [m for m in said if m["type"] == "tool"]
        is_told = len(results) == 1 and (
            (results[0]["status"] != "error" and len(notes) == 1)
            or (UNSURE in results[0]["content"] and len(notes) <= 1)
        )
        if not is_told:
            raise Damage(f"{len(notes)} notes, and told: {[m['content'] for m in results]}")


async def _whole(agent: AgentClient, run: Run, answer: str) -> tuple[str, Heard]:
    """Reads the stream to its end. Raises what it raises, or Damage."""
    heard = Heard()
    async with run:
        async for event in run:
            heard.take(event)
    if run.done is None or run.done.status != "success" or heard.ends != 1:
        raise Damage(f"ended {run.done}, with {heard.ends} `done`")
    if "".join(heard.text.values()) != answer or await run.text() != answer:
        raise Damage(f"text: {''.join(heard.text.values())[-200:]!r}")
    return str(run.thread_id), heard


async def kept(agent: AgentClient, thread_id: str) -> list[Any]:
    """The thread's messages: a single request, which the fault may hit too, is asked again."""
    while True:
        try:
            return await agent.threads.messages(thread_id)
        except (CannotConnect, ConnectionLost, Unavailable):
            await asyncio.sleep(0.2)


def check(said: list[Any], questions: list[str], answer: str) -> None:
    asked = [m["content"] for m in said if m["type"] == "human"]
    answers = [m["content"] for m in said if m["type"] == "ai" and m["content"]]
    if asked != questions or answers != [answer]:
        raise Damage(f"thread: {[(m['type'], str(m['content'])[-80:]) for m in said]}")


async def series(seeds: range, cluster: Cluster, model: ModelServer) -> Counter[str]:
    """Judges the seeds; what was found, by kind of fault."""
    found: Counter[str] = Counter()
    judge = Series(cluster, model)
    for seed in seeds:
        kind, began = KINDS[seed % len(KINDS)], time.monotonic()
        verdict = await judge.judge(seed)
        print(f"{seed:4} {kind:17} {time.monotonic() - began:5.1f} s  {verdict}", flush=True)
        found[f"{kind}: {verdict}"] += 1
    return found


async def _main(seeds: range) -> Counter[str]:
    with TemporaryDirectory(prefix="steady-scale-") as name, ModelServer() as model:
        folder = Path(name)
        env = server_env(model.url, STEADY_NOTES_DIR=str(folder / "notes"))
        async with running(folder, env, 2, linked=True) as cluster:
            return await series(seeds, cluster, model)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", type=int, default=100, help="how many faults")
    parser.add_argument("--seed", type=int, help="one seed alone")
    chosen = parser.parse_args()
    if reason := not_possible():
        sys.exit(reason)
    first, count = (0, chosen.n) if chosen.seed is None else (chosen.seed, 1)
    found = asyncio.run(_main(range(first, first + count)))
    for verdict, times in sorted(found.items()):
        print(f"{times:5}  {verdict}")
    sys.exit(any(not verdict.endswith(": ok") for verdict in found))


if __name__ == "__main__":
    main()
