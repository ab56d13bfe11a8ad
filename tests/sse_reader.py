"""Reading the chat routes as any program would: HTTP, lines of `data:`, and ids to go on from."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import httpx
from httpx_sse import EventSource

JSON = dict[str, Any]
ACCEPT = {"Accept": "text/event-stream"}


class Stream:
    """An open stream: its events so far, the id of the last, and the response's head."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.events: list[JSON] = []
        self.last_event_id = ""
        self._sent = EventSource(response).aiter_sse()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JSON:
        while not (sent := await anext(self._sent)).data:
            pass  # httpx-sse makes an event of a heartbeat that comes after an id
        event: JSON = sent.json()
        self.events.append(event)
        self.last_event_id = sent.id or self.last_event_id
        return event

    async def rest(self) -> list[JSON]:
        """All events, once the stream has ended."""
        async for _ in self:
            pass
        return self.events


@asynccontextmanager
async def opened(
    url: str, path: str, body: JSON | None = None, headers: dict[str, str] | None = None
) -> AsyncIterator[Stream]:
    """POSTs the body, or GETs without one. A refusal is a stream without events."""
    method = "GET" if body is None else "POST"
    async with (
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=False) as http,  # noqa: S501
        http.stream(method, path, json=body, headers={**ACCEPT, **(headers or {})}) as response,
    ):
        if not response.is_success:
            await response.aread()
        yield Stream(response)


async def ask(url: str, path: str, body: JSON, headers: dict[str, str] | None = None) -> list[JSON]:
    """All events of a stream."""
    async with opened(url, path, body, headers) as stream:
        assert stream.response.status_code == 200, stream.response.text
        return await stream.rest()


async def ask_in_parts(url: str, path: str, body: JSON, chance: random.Random) -> list[JSON]:
    """All events, by a reader who is cut off again and again, and posts with the last id."""
    events, place, parts = list[JSON](), "", 0
    while not events or events[-1]["type"] != "done":
        parts += 1
        headers = {"Last-Event-ID": place} if place else {}
        async with opened(url, path, body, headers) as stream:
            assert stream.response.status_code == 200, stream.response.text
            for _ in range(chance.randint(1, 6)):
                with suppress(StopAsyncIteration):
                    events.append(await anext(stream))
            place = stream.last_event_id
    assert parts > 1
    return events


def text_of(events: list[JSON]) -> str:
    """The tokens of an agent's stream, joined."""
    return "".join(event["content"] for event in events if event["type"] == "token")


async def cut_and_resumed(
    first: str, second: str, body: JSON, headers: dict[str, str]
) -> list[JSON]:
    """What follows an agent's first token: the reader leaves `first`, and reads on at `second`."""
    async with opened(first, "/agent/stream", body, headers) as stream:
        async for event in stream:
            if event["type"] == "token":
                break
    headers = {**headers, "Last-Event-ID": str(stream.last_event_id)}
    async with opened(second, "/agent/stream", body, headers) as rest:
        return await rest.rest()
