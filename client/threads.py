"""The conversations of a server."""

from collections.abc import AsyncGenerator, Iterable
from uuid import UUID

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import Thread, ThreadState

from .errors import InvalidRequest, translated
from .events import JSON, AgentEvent, Interrupt
from .state.branches import messages_of
from .state.decisions import waiting
from .thread_stream import ThreadStream

# In the class, `list` is its method.
ThreadList = list[Thread]
ThreadStates = list[ThreadState]
Messages = list[JSON]
Interrupts = list[Interrupt]


class Threads:
    """The conversations of a server: `AgentClient.threads`.

    Every method raises NotFound for an unknown thread, InvalidRequest for an id that is not a UUID,
    and another ServerError where the server does not answer as it should: see the tree of errors.

    Args:
        sdk: the client of langgraph-sdk.
        url: the server, as messages of errors name it.
        stream: what joins a thread's stream.
    """

    def __init__(self, sdk: LangGraphClient, url: str, stream: ThreadStream) -> None:
        self._sdk = sdk
        self._url = url
        self._stream = stream

    async def create(self, metadata: JSON | None = None) -> str:
        """Creates a thread.

        Args:
            metadata: kept with the thread. None, the default: none.

        Returns:
            The thread's id, a UUID.
        """
        with translated(self._url):
            return (await self._sdk.threads.create(metadata=metadata))["thread_id"]

    async def list(self, limit: int = 20) -> ThreadList:
        """The threads, those that were changed last first.

        Args:
            limit: the greatest number of threads. Default: 20.
        """
        with translated(self._url):
            return await self._sdk.threads.search(
                limit=limit, sort_by="updated_at", sort_order="desc"
            )

    async def get(self, thread_id: str) -> Thread:
        """The thread: its status, metadata, values and pending interrupts.

        Args:
            thread_id: the thread.
        """
        with translated(self._url, thread_id=thread_id):
            return await self._sdk.threads.get(checked_id(thread_id))

    async def messages(self, thread_id: str, checkpoint_id: str | None = None) -> Messages:
        """The conversation so far.

        Args:
            thread_id: the thread.
            checkpoint_id: the conversation as it was at this checkpoint, of any branch. None, the
                default: as it is now.

        Returns:
            The messages, oldest first, in LangChain's JSON form: `type`, `content`, `id`...
        """
        return messages_of(await self._state(thread_id, checkpoint_id))

    async def interrupts(self, thread_id: str) -> Interrupts:
        """What waits for a person's decision; `AgentClient.decide` decides it.

        Args:
            thread_id: the thread.
        """
        return waiting(await self._state(thread_id))

    async def _state(self, thread_id: str, checkpoint_id: str | None = None) -> JSON:
        with translated(self._url, thread_id=thread_id):
            thread_id = checked_id(thread_id)
            return dict(await self._sdk.threads.get_state(thread_id, checkpoint_id=checkpoint_id))

    async def history(self, thread_id: str, limit: int = 20) -> ThreadStates:
        """The thread's checkpoints, newest first.

        Args:
            thread_id: the thread.
            limit: the greatest number of checkpoints. Default: 20.
        """
        with translated(self._url, thread_id=thread_id):
            await self._sdk.threads.get(checked_id(thread_id))
            return await self._sdk.threads.get_history(thread_id, limit=limit)

    def join_stream(
        self,
        thread_id: str,
        after_run_id: str | None = None,
        *,
        nodes: Iterable[str] | None = None,
    ) -> AsyncGenerator[AgentEvent]:
        """The events of the thread's runs, whoever starts them, until it is left.

        Each run begins with its `RunStarted` and ends with its `Done`, after an `Error` if it
        fails; between two runs it waits. Each brings what `runs.join` does: everything, once; of a
        run whose events the server does not store (`stream_resumable` of the stock SDK), those
        since it was joined, and at its end the messages that had come before.

        Args:
            thread_id: the thread.
            after_run_id: the last run that was read. It begins with the runs after this one, while
                the server keeps them. None, the default: with what runs once the stream is joined,
                so that a run which ended before that is not told.
            nodes: see `AgentClient.stream`. None, the default: all but tools and middleware.

        Raises:
            InvalidRequest: an id is not a UUID. Reading it raises InvalidRequest if the server has
                no streams of threads (Aegra), and NotFound if it has no such thread or run.

        Example::

            async for event in agent.threads.join_stream(thread_id):
                print(event)
        """
        run_id = checked_id(after_run_id, "run id") if after_run_id else None
        return self._stream.events(checked_id(thread_id), run_id, nodes)

    async def delete(self, thread_id: str) -> None:
        """Deletes the thread and all its checkpoints.

        Args:
            thread_id: the thread.
        """
        with translated(self._url, thread_id=thread_id):
            await self._sdk.threads.delete(checked_id(thread_id))


def checked_id(text: str, kind: str = "thread id") -> str:
    """The id, which goes into a path: one like `../assistants` would reach something else.

    Args:
        text: the id.
        kind: what it is the id of, for the error's message. Default: `thread id`.

    Raises:
        InvalidRequest: it is not a UUID.
    """
    try:
        return str(UUID(text))
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is not a valid {kind}: it must be a UUID.") from error
