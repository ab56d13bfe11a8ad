"""Many scenarios at once, against one server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from client.cli.local_server import LocalServer, find_config
from tests.faults.model_wire import ModelWire
from tests.faults.outcome import Outcome
from tests.faults.scenarios import MODEL_RETRIES

CONCURRENCY = 10  # as many as the server has run slots
MODEL_SILENCE_SECONDS = 2.0

T = TypeVar("T")


@contextmanager
def server_for(wire: ModelWire, *, frames: bool = True) -> Iterator[LocalServer]:
    """A server of this project in a folder of its own, which soon loses patience with its model."""
    env = {
        "OPENAI_BASE_URL": wire.url,
        "OPENAI_API_KEY": "test-key",
        "STEADY_ENV_FILE": "",
        "STEADY_MODEL_RETRIES": str(MODEL_RETRIES),
        "STEADY_MODEL_IDLE_SECONDS": str(MODEL_SILENCE_SECONDS),
        **({} if frames else {"STEADY_FRAME_SECONDS": "0"}),
    }
    config = find_config(Path(__file__).parent)
    with TemporaryDirectory(prefix="steady-faults-") as folder:
        env["STEADY_NOTES_DIR"] = f"{folder}/notes"
        with LocalServer(config, env=env, folder=Path(folder)) as running:
            yield running


async def run_all(
    things: Iterable[T],
    judged: Callable[[T], Awaitable[Outcome]],
    *,
    concurrency: int = CONCURRENCY,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """The outcomes in the order of `things`; `tell` hears of each as it is there."""
    slots = asyncio.Semaphore(concurrency)

    async def one(thing: T) -> Outcome:
        async with slots:
            outcome = await judged(thing)
        tell(outcome)
        return outcome

    return list(await asyncio.gather(*map(one, things)))
