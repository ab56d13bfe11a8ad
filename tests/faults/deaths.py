"""A server that is killed in the middle of a run, and perhaps comes back on the same port."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from client import AgentClient, Limits, Mode, SteadyError
from client.cli.local_server import LocalServer, find_config
from tests.faults import outcome as verdicts
from tests.faults.heard import Heard
from tests.faults.outcome import Outcome
from tests.faults.plan import Plan
from tests.faults.scenarios import GONE, MODES, Scenario
from tests.faults.truth import Server
from tests.model_script import Reply
from tests.model_server import ModelServer

HANG_SECONDS = 90.0
TOKENS = tuple(f"{' ' if n else ''}word{n}" for n in range(200))
LOST_RUN = frozenset({"run_lost"})  # the dev server forgets the run; its thread is there


@dataclass(frozen=True)
class Death:
    """The server dies after `after_events` events; `then` is whether it comes back, and whether the
    reader asked to go on with a run that it lost."""

    seed: int
    after_events: int
    modes: tuple[Mode, ...]
    then: Literal["for good", "restarted", "restarted, run resumed"]

    @property
    def scenario(self) -> Scenario:
        """What is asked, as a scenario without network faults."""
        allowed = {"for good": GONE, "restarted": LOST_RUN}
        return Scenario(
            self.seed,
            f"server killed, {self.then}",
            self.modes,
            f"Death {self.seed}",
            (Reply(TOKENS, tokens_per_second=50.0),),
            Plan(),
            reconnect_seconds=2.0 if self.then == "for good" else 40.0,
            allowed=allowed.get(self.then, frozenset()),
        )


def death(seed: int) -> Death:
    """The death of a seed."""
    rng = random.Random(f"death {seed}")
    modes = rng.choice([("messages",), ("messages", "events"), ("events",), MODES])
    then = ("for good", "restarted", "restarted, run resumed")[seed % 3]
    return Death(seed, rng.choice([2, 3, 10, 40]), modes, then)  # type: ignore[arg-type]


async def judge_death(
    death: Death, model: ModelServer, tell: Callable[[str], None] = lambda line: None
) -> Outcome:
    """The outcome, with a server of its own."""
    scenario = death.scenario
    model.on(scenario.question, *scenario.replies)
    config = find_config(Path(__file__).parent)
    env = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "test-key", "STEADY_ENV_FILE": ""}
    began = time.monotonic()
    with TemporaryDirectory(prefix="steady-deaths-") as folder:
        server = LocalServer(config, env=env, folder=Path(folder))
        await asyncio.to_thread(server.start)
        try:
            async with asyncio.timeout(HANG_SECONDS):
                outcome = await _stream(death, server, tell)
        except TimeoutError:
            outcome = Outcome(scenario, "hang")
        finally:
            await asyncio.to_thread(server.stop)
            server.log.unlink(missing_ok=True)
    return replace(outcome, seconds=time.monotonic() - began)


async def _stream(death: Death, server: LocalServer, tell: Callable[[str], None]) -> Outcome:
    scenario, heard = death.scenario, Heard()
    limits = Limits(heartbeat_timeout_seconds=7.0, reconnect_seconds=scenario.reconnect_seconds)
    back: asyncio.Task[LocalServer] | None = None
    async with AgentClient(server.url, limits=limits) as agent:
        run = agent.stream(
            scenario.question,
            modes=scenario.modes,
            restart_lost_run=death.then == "restarted, run resumed",
        )
        try:
            async with run:
                async for event in run:
                    tell(f"{event}")
                    heard.take(event)
                    if heard.events == death.after_events:
                        await asyncio.to_thread(server.kill)
                        tell("killed")
                        if death.then != "for good":
                            back = asyncio.create_task(asyncio.to_thread(server.start))
                text = await run.text()
        except SteadyError as error:
            tell(f"{type(error).__name__}: {error.message}")
            return verdicts.of_error(scenario, heard, error)
        except Exception as error:
            return Outcome(scenario, "untyped error", f"{type(error).__name__}: {error}")
        finally:
            if back is not None:
                await back
        async with Server(server.url) as asked:
            truth = await asked.truth(str(run.thread_id))
        truth = replace(truth, runs=truth.runs[:1])  # the server may have forgotten the first
        return verdicts.of_end(scenario, heard, text, [*run.tool_calls], truth)
