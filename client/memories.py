"""What the agent remembers of a person: to read, and to delete."""

from dataclasses import dataclass

from langgraph_sdk.client import LangGraphClient

from .errors import NotFound, translated

_NAMESPACE = ("memories",)  # a server that knows users puts each one's name before it
_MOST_ITEMS = 500


@dataclass(frozen=True)
class Memory:
    """One fact that the agent remembers.

    Attributes:
        id: its name at the server.
        text: the fact.
        at: when it was remembered, in ISO 8601.
    """

    id: str
    text: str
    at: str


class Memories:
    """The user's memories, which the agent's tools `remember` and `recall` share.

    Every method raises a ServerError where the server does not answer as it should.

    Args:
        sdk: the client of langgraph-sdk.
        url: the server, as messages of errors name it.
    """

    def __init__(self, sdk: LangGraphClient, url: str) -> None:
        self._sdk = sdk
        self._url = url

    async def list(self) -> list[Memory]:
        """All of them, newest first."""
        with translated(self._url):
            result = await self._sdk.store.search_items(_NAMESPACE, limit=_MOST_ITEMS)
        items = [(item["key"], item["value"]) for item in result["items"]]
        memories = [Memory(k, str(v.get("text", "")), str(v.get("at", ""))) for k, v in items]
        return sorted(memories, key=lambda memory: memory.at, reverse=True)

    async def forget(self, memory_id: str) -> None:
        """Deletes one.

        Args:
            memory_id: its id, which `list` tells.

        Raises:
            NotFound: there is none with this id.
        """
        if memory_id not in {memory.id for memory in await self.list()}:
            raise NotFound(f"There is no memory {memory_id!r}: `list` tells their ids.")
        with translated(self._url):
            await self._sdk.store.delete_item(_NAMESPACE, memory_id)

    async def forget_all(self) -> int:
        """Deletes all of them.

        Returns:
            How many there were.
        """
        memories = await self.list()
        for memory in memories:
            with translated(self._url):
                await self._sdk.store.delete_item(_NAMESPACE, memory.id)
        return len(memories)
