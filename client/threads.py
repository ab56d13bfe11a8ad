"""The conversations of a server."""

from typing import Any
from uuid import UUID

from langgraph_sdk.client import LangGraphClient

from .errors import InvalidRequest, translated
from .events import JSON, Interrupt
from .state.decisions import waiting

Messages = list[JSON]
Found = list[Any]
Waiting = list[Interrupt]


class Threads:
    """The conversations of a server."""

    def __init__(self, sdk: LangGraphClient, url: str) -> None:
        self._sdk = sdk
        self._url = url

    async def create(self, metadata: JSON | None = None) -> str:
        """A new thread's id."""
        with translated(self._url):
            return (await self._sdk.threads.create(metadata=metadata))["thread_id"]

    async def list(self, limit: int = 20) -> Found:
        """The threads changed last, newest first."""
        with translated(self._url):
            return await self._sdk.threads.search(
                limit=limit, sort_by="updated_at", sort_order="desc"
            )

    async def get(self, thread_id: str) -> Any:
        """The thread: its status, metadata, values and pending interrupts."""
        with translated(self._url, thread_id=thread_id):
            return await self._sdk.threads.get(checked_id(thread_id))

    async def messages(self, thread_id: str, checkpoint_id: str | None = None) -> Messages:
        """The conversation so far, or as it was at a checkpoint of any branch."""
        with translated(self._url, thread_id=thread_id):
            state = await self._sdk.threads.get_state(
                checked_id(thread_id), checkpoint_id=checkpoint_id
            )
        values = state["values"]
        return list(values.get("messages") or ()) if isinstance(values, dict) else []

    async def interrupts(self, thread_id: str) -> Waiting:
        """What waits for a person's decision; `AgentClient.decide` decides it."""
        with translated(self._url, thread_id=thread_id):
            state = await self._sdk.threads.get_state(checked_id(thread_id))
        return waiting(dict(state))

    async def history(self, thread_id: str, limit: int = 20) -> Found:
        """The thread's checkpoints, newest first."""
        with translated(self._url, thread_id=thread_id):
            await self._sdk.threads.get(checked_id(thread_id))
            return await self._sdk.threads.get_history(thread_id, limit=limit)

    async def delete(self, thread_id: str) -> None:
        """Deletes the thread and all its checkpoints."""
        with translated(self._url, thread_id=thread_id):
            await self._sdk.threads.delete(checked_id(thread_id))


def checked_id(given: str, kind: str = "thread") -> str:
    """The id, which goes into a path: one like `../assistants` would reach another place."""
    try:
        return str(UUID(given))
    except ValueError as error:
        raise InvalidRequest(f"{given!r} is not a {kind}'s id: it must be a UUID.") from error
