"""How much of the server's store one user may fill. The person at this machine has no limit."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal
from weakref import WeakValueDictionary

from langgraph.store.base import NOT_PROVIDED, BaseStore, NotProvided
from starlette.exceptions import HTTPException

from agent.settings import settings


class StoreFull(HTTPException):
    """A user's part of the store would hold more than the server's settings allow."""

    def __init__(self, limit: str) -> None:
        super().__init__(422, f"Your part of the store holds at most {limit}: delete some items.")


class LimitedStore(BaseStore):
    """Holds each user to a number of items and bytes, also for writes that arrive together."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turns = WeakValueDictionary[str, asyncio.Lock]()

    async def usage_without(self, namespace: tuple[str, ...], key: str) -> tuple[int, int]:
        """Items and bytes under the namespace's first part, this item aside."""
        raise NotImplementedError

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        async with self._room_for(namespace, key, value):
            await super().aput(namespace, key, value, index, ttl=ttl)

    @asynccontextmanager
    async def _room_for(
        self, namespace: tuple[str, ...], key: str, value: Any
    ) -> AsyncIterator[None]:
        """A context to write an item in. Raises StoreFull."""
        config = settings()
        if not config.has_users:
            yield
            return
        turn = self._turns.setdefault(namespace[0], asyncio.Lock())
        async with turn:
            items, size_bytes = await self.usage_without(namespace, key)
            if items + 1 > config.steady_store_items_per_user:
                raise StoreFull(f"{config.steady_store_items_per_user} items")
            size_bytes += len(json.dumps(value, ensure_ascii=False, default=str).encode())
            if size_bytes > config.steady_store_bytes_per_user:
                raise StoreFull(f"{config.steady_store_bytes_per_user} bytes")
            yield
