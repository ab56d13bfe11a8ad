"""OpenAI's client under the same faults, by the same ruler: it reads one response.

    python -m tests.faults.openai_client -n 480              the streams of these seeds, as a table
    python -m tests.faults.openai_client -n 480 --markdown   and into README.md beside this

The `openai` package is used as it is. It does not read on by itself, so what the protocol says is
done here: a response that broke off is retrieved again after the last `sequence_number`, and a
request whose answer was lost is sent again under the same idempotency key.
"""

import argparse
import asyncio
import sys
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, AsyncStream

from tests.faults import table
from tests.faults.contestants import Reading, for_contestants
from tests.faults.model_wire import ModelWire, model_wire
from tests.faults.outcome import Outcome
from tests.faults.scenarios import Scenario
from tests.faults.series import CONCURRENCY, run_all, server_for
from tests.faults.stock import judge_contestant
from tests.faults.truth import Server
from tests.model_server import ModelServer

README = Path(__file__).with_name("README.md")
MARK, NAME = "openai", "OpenAI's client"
_ENDS = ("response.completed", "response.incomplete", "response.failed")
_LOST = (408, 409, 429, 500, 502, 503, 504)
_PAUSE_SECONDS = 0.2
_TIMEOUT = httpx2.Timeout(20.0)  # longer than the heartbeats of the routes are apart
_STREAM = {"Accept": "text/event-stream"}


class _Reader:
    """One response's text, over as many requests as it takes."""

    def __init__(self, api: AsyncOpenAI, asked: Scenario, thread_id: str, reading: Reading) -> None:
        self._api, self._asked, self._thread_id = api, asked, thread_id
        self._reading = reading
        self._key = {**_STREAM, "Idempotency-Key": uuid.uuid4().hex}
        self._response_id, self._number = "", -1

    async def read(self) -> None:
        """Raises what the client raised last, where the server stays away too long."""
        until = time.monotonic() + self._asked.reconnect_seconds
        while True:
            cause: Exception | None = None
            try:
                async with await self._events() as events:
                    async for event in events:
                        until = time.monotonic() + self._asked.reconnect_seconds
                        if await self._take(event):
                            return
            except APIStatusError as error:
                if error.status_code not in _LOST:
                    raise
                cause = error
            except (APIConnectionError, APIError, httpx2.HTTPError, ValueError) as error:
                cause = error
            if time.monotonic() > until:
                raise cause or TimeoutError("The stream keeps ending early.")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _events(self) -> AsyncStream[Any]:
        if not self._response_id:
            return await self._api.responses.create(
                model="agent",
                input=self._asked.question,
                conversation=self._thread_id,
                stream=True,
                background=True,
                extra_headers=self._key,
            )
        return await self._api.responses.retrieve(
            self._response_id,
            stream=True,
            starting_after=self._number,
            extra_headers=_STREAM,
        )

    async def _take(self, event: Any) -> bool:
        """Takes an event; whether it was the last."""
        if event.type == "error":
            return False
        if event.sequence_number <= self._number:
            raise AssertionError(f"{event.sequence_number} came after {self._number}.")
        self._number = event.sequence_number
        if event.type == "response.created":
            self._response_id = event.response.id
        elif event.type == "response.output_text.delta":
            await self._reading.keep(self._asked, _message_id(event.item_id), event.delta)
        elif event.type == "response.output_item.done" and event.item.type == "message":
            if event.item.status != "completed":
                self._reading.texts.pop(_message_id(event.item.id), None)
        elif event.type == "response.failed":
            self._reading.error = event.response.error.message
        return event.type in _ENDS


def _message_id(item_id: str) -> str:
    return item_id.split("_", 2)[2]


async def read_response(asked: Scenario, url: str, thread_id: str, reading: Reading) -> None:
    """A contestant: OpenAI's client."""
    http = httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False)
    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key="any", max_retries=0, http_client=http
    ) as api:
        await _Reader(api, asked, thread_id, reading).read()


async def series(
    url: str, wire: ModelWire, scenarios: Sequence[Scenario], concurrency: int = CONCURRENCY
) -> list[Outcome]:
    """The outcomes, in the scenarios' order."""
    async with Server(url) as server:
        judged = partial(judge_contestant, server=server, wire=wire, name=NAME, read=read_response)
        return await run_all(scenarios, judged, concurrency=concurrency, tell=_tell)


def is_wrong(outcome: Outcome) -> bool:
    """Whether the stream was not whole; an error is right only where the server never came back."""
    is_told = outcome.verdict == "told" and bool(outcome.scenario.allowed)
    return outcome.verdict != "complete" and not is_told


def _tell(outcome: Outcome) -> None:
    if is_wrong(outcome):
        print(outcome, flush=True)


def main() -> int:
    """Prints the table; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.openai_client")
    parser.add_argument("-n", type=int, default=480, help="seeds (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--markdown", action="store_true", help="write README.md beside this")
    options = parser.parse_args()
    scenarios = for_contestants(range(options.first, options.first + options.n))
    with ModelServer() as model, model_wire(model) as wire, server_for(wire) as server:
        outcomes = asyncio.run(series(server.url, wire, scenarios))
    print(table.text(NAME, table.rows(outcomes)))
    if options.markdown:
        table.put_into(README, MARK, table.markdown({NAME: outcomes}))
    return int(any(map(is_wrong, outcomes)))


if __name__ == "__main__":
    sys.exit(main())
