"""What really happened to a run, asked of the server directly and not through the proxy."""

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from client.events import JSON
from tests.faults.answers import ACTS


@dataclass(frozen=True)
class Truth:
    """A thread as the server has it: its state, and the status of each run that was started.

    `approved` are the ids of messages whose calls had to be.
    """

    state: JSON
    runs: tuple[str, ...] = ()
    messages: dict[str, str] = field(default_factory=dict)
    calls: tuple[JSON, ...] = ()
    approved: tuple[str, ...] = ()


class Server:
    """The server under test."""

    def __init__(self, url: str) -> None:
        self.url = url
        new_ones = httpx.Limits(max_keepalive_connections=0)  # the server closes those that wait
        self._http = httpx.AsyncClient(base_url=url, timeout=60, limits=new_ones)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def truth(self, thread_id: str) -> Truth:
        """The thread now."""
        runs = await self._get(f"/threads/{thread_id}/runs")
        state = (await self._get(f"/threads/{thread_id}/state"))["values"] or {}
        said = [m for m in state.get("messages") or () if m["type"] == "ai"]
        return Truth(
            state,
            tuple(run["status"] for run in runs),
            {m["id"]: text_of(m["content"]) for m in said},
            tuple(_call(call) for m in said for call in m.get("tool_calls") or ()),
            tuple(m["id"] for m in said if _acts(m)),
        )

    async def new_thread(self) -> str:
        """A new thread's id."""
        answer = await self._http.post("/threads", json={})
        answer.raise_for_status()
        return str(answer.json()["thread_id"])

    async def forget(self, thread_id: str | None) -> None:
        """Deletes the thread, so that a long series does not fill the server's memory."""
        if thread_id:
            await self._http.delete(f"/threads/{thread_id}")

    async def _get(self, path: str) -> Any:
        answer = await self._http.get(path)
        answer.raise_for_status()
        return answer.json()


def text_of(content: Any) -> str:
    """The text of a message's content."""
    return content if isinstance(content, str) else "".join(b.get("text", "") for b in content)


def _acts(message: JSON) -> bool:
    return any(call["name"] == ACTS for call in message.get("tool_calls") or ())


def _call(call: JSON) -> JSON:
    return {"id": call["id"], "name": call["name"], "args": call["args"]}
