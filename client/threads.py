"""The conversations of a server."""

from typing import Any
from uuid import UUID

from langgraph_sdk.client import LangGraphClient

from .errors import InvalidRequest, translated
from .events import JSON, Interrupt
from .state.branches import messages_of
from .state.decisions import waiting

List = list[Any]
Messages = list[JSON]
Interrupts = list[Interrupt]


class Threads:
    """The conversations of a server: `AgentClient.threads`.

    Every method raises NotFound for an unknown thread, InvalidRequest for an id that is not a UUID,
    and another ServerError where the server does not answer.
    """

    def __init__(self, sdk: LangGraphClient, url: str) -> None:
        self._sdk = sdk
        self._url = url

    async def create(self, metadata: JSON | None = None) -> str:
        """A new thread's id.

        Args:
            metadata: kept with the thread. None, the default: none.
        """
        with translated(self._url):
            return (await self._sdk.threads.create(metadata=metadata))["thread_id"]

    async def list(self, limit: int = 20) -> List:
        """The threads, those that were changed last first.

        Args:
            limit: the greatest number of threads. Default: 20.
        """
        with translated(self._url):
            return await self._sdk.threads.search(
                limit=limit, sort_by="updated_at", sort_order="desc"
            )

    async def get(self, thread_id: str) -> Any:
        """The thread: its status, metadata, values and pending interrupts."""
        with translated(self._url, thread_id=thread_id):
            return await self._sdk.threads.get(checked_id(thread_id))

    async def messages(self, thread_id: str, checkpoint_id: str | None = None) -> Messages:
        """The conversation so far.

        Args:
            thread_id: the thread.
            checkpoint_id: the conversation as it was at this checkpoint, of any branch. None, the
                default: as it is now.
        """
        return messages_of(await self._state(thread_id, checkpoint_id))

    async def interrupts(self, thread_id: str) -> Interrupts:
        """What waits for a person's decision; `AgentClient.decide` decides it."""
        return waiting(await self._state(thread_id))

    async def _state(self, thread_id: str, checkpoint_id: str | None = None) -> JSON:
        with translated(self._url, thread_id=thread_id):
            return dict(
                await self._sdk.threads.get_state(
                    checked_id(thread_id), checkpoint_id=checkpoint_id
                )
            )

    async def history(self, thread_id: str, limit: int = 20) -> List:
        """The thread's checkpoints, newest first.

        Args:
            thread_id: the thread.
            limit: the greatest number of checkpoints. Default: 20.
        """
        with translated(self._url, thread_id=thread_id):
            await self._sdk.threads.get(checked_id(thread_id))
            return await self._sdk.threads.get_history(thread_id, limit=limit)

    async def delete(self, thread_id: str) -> None:
        """Deletes the thread and all its checkpoints."""
        with translated(self._url, thread_id=thread_id):
            await self._sdk.threads.delete(checked_id(thread_id))


def checked_id(text: str, kind: str = "thread id") -> str:
    """The id, which goes into a path: one like `../assistants` would reach something else.

    Raises:
        InvalidRequest: it is not a UUID; the message calls it by its `kind`.
    """
    try:
        return str(UUID(text))
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is not a valid {kind}: it must be a UUID.") from error
