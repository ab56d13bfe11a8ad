"""What the agent remembers of a person across threads, in the server's store.

A person's memories lie under `(user, "memories")`, or `("memories",)` where the server knows no
users. They are the person's to read and to delete: with `steady memory`, with
`AgentClient.memories`, on the page.
"""

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from langchain.tools import ToolRuntime
from langchain_core.tools import ToolException, tool
from langgraph.store.base import BaseStore, SearchItem

from agent.storage.namespaces import memories_namespace

LONGEST_CHARACTERS = 1000
MOST_MEMORIES = 500
_RECALLED = 10


@tool
async def remember(fact: str, runtime: ToolRuntime[Any, Any]) -> str:
    """Remember a lasting fact about the person for later conversations, in one sentence."""
    fact = " ".join(fact.split())
    if not 0 < len(fact) <= LONGEST_CHARACTERS:
        raise ToolException(f"A memory is one sentence of at most {LONGEST_CHARACTERS} characters.")
    store, namespace = _memories(runtime)
    key = str(uuid.uuid5(uuid.NAMESPACE_OID, fact.casefold()))  # the same fact once
    stored = await store.asearch(namespace, limit=MOST_MEMORIES)
    if len(stored) >= MOST_MEMORIES and key not in {item.key for item in stored}:
        raise ToolException("The memory is full: the person can delete what is no longer needed.")
    await store.aput(namespace, key, {"text": fact, "at": datetime.now(UTC).isoformat()})
    return "Remembered."


@tool
async def recall(about: str, runtime: ToolRuntime[Any, Any]) -> str:
    """What is remembered about the person from earlier conversations that fits some words."""
    store, namespace = _memories(runtime)
    items = await store.asearch(namespace, query=about, limit=MOST_MEMORIES)
    if not items:
        return "Nothing is remembered yet."
    return "\n".join(f"- {item.value['text']}" for item in _ranked(items, about)[:_RECALLED])


def _memories(runtime: ToolRuntime[Any, Any]) -> tuple[BaseStore, tuple[str, ...]]:
    if runtime.store is None:
        raise ToolException("This server has no store to remember in.")
    user = runtime.config.get("configurable", {}).get("langgraph_auth_user")
    if isinstance(user, Mapping):
        return runtime.store, memories_namespace(user["identity"])
    return runtime.store, memories_namespace(user.identity if user else None)


def _ranked(items: list[SearchItem], about: str) -> list[SearchItem]:
    """By the store's own ranking where it has one, else by words in common; the newest first."""
    if any(item.score is not None for item in items):
        return items
    query = _words(about)
    newest = sorted(items, key=lambda item: item.updated_at, reverse=True)
    return sorted(newest, key=lambda item: -len(query & _words(item.value["text"])))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
