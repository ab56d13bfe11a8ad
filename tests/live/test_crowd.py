"""Many users at once: no byte of one's answers reaches another, whatever is cut or stopped."""

import asyncio
import json
import os
import random
import re
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from client.cli.local_server import LocalServer
from tests.users import bearer, socket_url, token_of

USERS = int(os.environ.get("STEADY_CROWD_USERS", "40"))
SECONDS = float(os.environ.get("STEADY_CROWD_SECONDS", "6"))
WORDS = 40
JSON = dict[str, Any]


class User:
    """One of the crowd: asks, cuts, goes on, stops; `heard` is every byte that came."""

    def __init__(self, number: int, server: LocalServer, http: httpx.AsyncClient) -> None:
        self.mark = f"mark{number}of{uuid.uuid4().hex}"
        self.rng = random.Random(number)
        self.server, self.http = server, http
        self.headers = bearer(token_of(f"user-{number}"))
        self.heard = b""
        self.done: Counter[str] = Counter()

    async def live(self, end: float) -> None:
        ways = [self.over_sse, self.over_the_api, self.over_a_socket, self.looks_around]
        while time.monotonic() < end:
            await self.rng.choice(ways)()
            marks = set(re.findall(rb"mark\d+of[0-9a-f]+", self.heard))
            assert marks <= {self.mark.encode()}
            self.heard = b""

    def question(self) -> str:
        return " ".join(f"{self.mark} {n}" for n in range(WORDS))

    async def over_sse(self) -> None:
        """Cut after some of it, gone on with from the last id; or stopped; or read whole."""
        place = last = ""
        end = self.rng.choice(["whole", "cut", "stop"])
        stream = self._stream("POST", "/agent/stream", json={"message": self.question()})
        async with aclosing(stream) as lines:  # type: ignore[type-var]
            async for line in lines:
                last = line[4:] if line.startswith("id: ") else last
                place = place or last
                if last and end != "whole" and self.rng.random() < 0.2:
                    break
        if end == "whole" or not last:
            self.done["sse read"] += 1
            return
        thread_id, run_id = place.split("/")[:2]
        if end == "stop":
            body = {"thread_id": thread_id, "run_id": run_id}
            answer = await self.http.post("/agent/stop", json=body, headers=self.headers)
            assert answer.status_code == 202
            self.done["sse stopped"] += 1
        rest = self._stream("GET", f"/agent/stream/{thread_id}/{run_id}", {"Last-Event-ID": last})
        assert any('"type":"done"' in line for line in [line async for line in rest])
        self.done["sse gone on with"] += 1

    async def over_the_api(self) -> None:
        """The server's own routes: a run, its thread, and a join of it."""
        asked = {"messages": [{"role": "user", "content": self.question()}]}
        body = {"assistant_id": "agent", "input": asked, "stream_mode": ["messages", "values"]}
        async for _ in self._stream("POST", "/runs/stream", json=body):
            pass
        self.done["runs"] += 1

    async def over_a_socket(self) -> None:
        """A turn, and a stop in the middle of another."""
        url = socket_url(self.server, "/ws/chat")
        protocols: Any = ["steady.v1"]
        async with connect(
            url, additional_headers=self.headers, subprotocols=protocols, open_timeout=60
        ) as socket:
            for is_stopped in (False, True):
                await socket.send(json.dumps({"type": "message", "message": self.question()}))
                while True:
                    event = json.loads(text := str(await socket.recv()))
                    self.heard += text.encode()
                    if event["type"] == "token" and is_stopped:
                        await socket.send('{"type": "stop"}')
                        is_stopped = False
                    if event["type"] == "done":
                        break
                self.done["turns"] += 1

    async def looks_around(self) -> None:
        """Everything that lists: threads, assistants, memories."""
        for path, body in {
            "/threads/search": {"limit": 100},
            "/assistants/search": {},
            "/store/items/search": {"namespace_prefix": []},
        }.items():
            answer = await self.http.post(path, json=body, headers=self.headers)
            assert answer.status_code == 200
            self.heard += answer.content
        self.done["looks"] += 1

    async def _stream(
        self, method: str, path: str, more: dict[str, str] | None = None, **options: Any
    ) -> AsyncIterator[str]:
        headers = {**self.headers, **(more or {})}
        async with self.http.stream(method, path, headers=headers, **options) as response:
            assert response.status_code == 200
            rest = b""
            async for data in response.aiter_bytes():
                self.heard += data
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield line.decode().rstrip("\r")


@pytest.mark.timeout(SECONDS + 300)
async def test_a_crowd(guarded: LocalServer) -> None:
    """Each stream ends, each answer is its user's, and no user ever sees another's mark."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=guarded.url, timeout=120, limits=limits) as http:
        crowd = [User(number, guarded, http) for number in range(USERS)]
        end = time.monotonic() + SECONDS
        await asyncio.gather(*(user.live(end) for user in crowd))
    done = sum((user.done for user in crowd), Counter())
    print(dict(done))
    assert all(
        done[what] for what in ("sse read", "sse stopped", "sse gone on with", "runs", "turns")
    )
