"""What acts on the world is done once, however often its step is run: the key is the call's id.

A worker that dies during a tool leaves a step that has not ended, and the next one runs it again.
So each such call is claimed in the thread's own storage before it is carried out, and its result
is kept there. Another worker finds the result; or a claim without one, and then says that it cannot
know, in place of doing the thing twice.
"""

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import AgentState
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.config import get_config
from langgraph.types import Command

UNKNOWN = (
    "The server stopped while this was carried out, so it may or may not have taken effect. "
    "It was not done again: look before you ask for it once more."
)
_CHECKPOINTER = "__pregel_checkpointer"  # where LangGraph passes it down to a run's tasks
_NAMESPACE = "steady-calls"  # beside the thread's checkpoints, and deleted and copied with them
_CLAIM, _RESULT = "claim", "result"


class OnceOnly(AgentMiddleware[AgentState[Any], Any]):
    """Carries out each call of these tools at most once."""

    def __init__(self, tools: Iterable[BaseTool]) -> None:
        super().__init__()
        self._names = {tool.name for tool in tools}

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        saver = get_config()["configurable"].get(_CHECKPOINTER)
        if saver is None or request.tool_call["name"] not in self._names:
            return await handler(request)
        entry = _Entry(saver, _place(request))
        if not await entry.claim():
            return await entry.result() or _unknown(request.tool_call)
        answer = await handler(request)
        if isinstance(answer, ToolMessage):
            await entry.keep(answer)
        return answer


@dataclass
class _Entry:
    """One call's place in the thread's storage."""

    saver: BaseCheckpointSaver[Any]
    place: RunnableConfig

    async def claim(self) -> bool:
        """Whether it is ours to carry out. Of several who ask, one is told so.

        A checkpointer keeps the first of several writes under one key, and is asked who it was.
        """
        mine, inside = uuid.uuid4().hex, self.place["configurable"]
        stub = {**empty_checkpoint(), "id": inside["checkpoint_id"]}
        within = {k: v for k, v in inside.items() if k != "checkpoint_id"}
        run_id = str(get_config()["configurable"].get("run_id"))
        await self.saver.aput(
            {"configurable": within},
            cast(Any, stub),
            {"source": "update", "step": -1, "parents": {}, "run_id": run_id},
            {},
        )
        await self.saver.aput_writes(self.place, [(_CLAIM, mine)], _task(_CLAIM))
        return bool(await self._written(_CLAIM) == mine)

    async def keep(self, answer: ToolMessage) -> None:
        await self.saver.aput_writes(self.place, [(_RESULT, answer)], _task(_RESULT))

    async def result(self) -> ToolMessage | None:
        return cast(ToolMessage | None, await self._written(_RESULT))

    async def _written(self, channel: str) -> Any:
        found: CheckpointTuple | None = await self.saver.aget_tuple(self.place)
        writes = found.pending_writes or () if found else ()
        return next((value for _, name, value in writes if name == channel), None)


def _place(request: ToolCallRequest) -> RunnableConfig:
    """Of this message's call with these arguments: one that a person has edited is another.

    The message counts, because not every model gives its calls ids that no other call has.
    """
    call, messages = request.tool_call, request.state["messages"]
    asking = next(m.id for m in reversed(messages) if isinstance(m, AIMessage))
    said = json.dumps([asking, call["id"], call["name"], call["args"]], sort_keys=True)
    key = str(uuid.UUID(bytes=hashlib.sha256(said.encode()).digest()[:16]))
    thread_id = get_config()["configurable"]["thread_id"]
    inside = {"thread_id": thread_id, "checkpoint_ns": _NAMESPACE, "checkpoint_id": key}
    return {"configurable": inside}


def _task(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _unknown(call: ToolCall) -> ToolMessage:
    return ToolMessage(UNKNOWN, name=call["name"], tool_call_id=call["id"], status="error")
