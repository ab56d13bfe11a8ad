"""The assistants of a server: what input they take, how they are drawn, which one a thread has."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from langgraph_sdk.client import LangGraphClient

from .errors import InvalidRequest, NotFound, SteadyError, translated
from .events import JSON
from .run_input import described, unknown_keys
from .run_options import DEFAULT_ASSISTANT

_MOST_THREADS = 10_000
_last_assistants: dict[tuple[str, str], str] = {}  # by server and thread: of this process's runs


class Assistants:
    """What the client asks of assistants, each by a graph's name or an assistant's id."""

    def __init__(self, sdk: LangGraphClient, url: str) -> None:
        self._sdk = sdk
        self._url = url
        self._input_schemas: dict[str, Mapping[str, Any]] = {}
        self._asking = asyncio.Lock()

    async def graph(self, assistant_id: str) -> JSON:
        """The drawing of the graph. Raises NotFound."""
        with translated(self._url):
            return dict(await self._sdk.assistants.get_graph(await self._uuid(assistant_id)))

    async def check_input(self, assistant_id: str, values: Mapping[str, Any]) -> None:
        """Compares an input with the schema that the server tells, which is asked for once.

        Servers drop keys that a graph does not have without a word. Raises InvalidRequest; where
        there is no schema to be had, the run tells what is wrong: a server that fails at it would
        fail again at each new try of the run, and close the connection that the run is sent over.
        """
        if assistant_id not in self._input_schemas:
            async with self._asking:  # streams that begin together wait for the first one's answer
                if assistant_id not in self._input_schemas:
                    self._input_schemas[assistant_id] = await self._input_schema(assistant_id)
        schema = self._input_schemas[assistant_id]
        if unknown := unknown_keys(values, schema):
            raise InvalidRequest(
                f"The graph {assistant_id!r} takes no {', '.join(sorted(map(repr, unknown)))}. By "
                f"the server's schema, its input has: {described(schema) or 'nothing'}."
            )

    async def _input_schema(self, assistant_id: str) -> Mapping[str, Any]:
        with suppress(SteadyError), translated(self._url):
            schemas = await self._sdk.assistants.get_schemas(await self._uuid(assistant_id))
            return schemas.get("input_schema") or schemas.get("state_schema") or {}
        return {}

    def note_run(self, thread_id: str, assistant_id: str) -> None:
        """The assistant has a run on the thread, as any client of this process may know it."""
        _last_assistants.pop((self._url, thread_id), None)
        _last_assistants[self._url, thread_id] = assistant_id
        if len(_last_assistants) > _MOST_THREADS:
            del _last_assistants[next(iter(_last_assistants))]

    def last_on(self, thread_id: str) -> str | None:
        """The assistant of this process's last run on the thread; None where it had none."""
        return _last_assistants.get((self._url, thread_id))

    async def find_last_on(self, thread_id: str) -> str:
        """The assistant of the thread's last run, as the server knows it.

        A thread without one has the default, and so has one that is not there: its run tells.
        """
        with suppress(NotFound), translated(self._url):
            thread = await self._sdk.threads.get(thread_id)
            return _assistant_in(thread.get("metadata")) or DEFAULT_ASSISTANT
        return DEFAULT_ASSISTANT

    async def of_thread(self, thread_id: str, state: JSON) -> str:
        """The assistant that has run on the thread, by its state or, failing that, its metadata."""
        if known := _assistant_in(state.get("metadata")):
            return known
        return await self.find_last_on(thread_id)

    async def _uuid(self, assistant_id: str) -> str:
        with suppress(ValueError):
            return str(UUID(assistant_id))
        assistants = await self._sdk.assistants.search(graph_id=assistant_id, limit=1)
        return assistants[0]["assistant_id"] if assistants else assistant_id


def _assistant_in(metadata: Any) -> str | None:
    return (metadata or {}).get("assistant_id") or (metadata or {}).get("graph_id")
