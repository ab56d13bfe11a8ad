"""A tool call with side effects is carried out at most once, however often its step is run.

A worker that dies during a tool leaves a step that has not ended, and the next worker runs it
again. So each such call is claimed in the thread's storage before it is carried out, and its result
is stored there. Another worker finds the result; or it finds a claim without one, and then says
that the outcome is unknown, rather than carry out the call twice.
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
from langgraph.constants import CONFIG_KEY_CHECKPOINTER
from langgraph.types import Command

UNKNOWN = (
    "The server stopped while this was carried out, so it may or may not have taken effect. "
    "It was not done again: look before you ask for it once more."
)
_NAMESPACE = "steady-calls"  # beside the thread's checkpoints, and deleted and copied with them
_CLAIM, _RESULT = "claim", "result"


class AtMostOnceTools(AgentMiddleware[AgentState[Any], Any]):
    """Carries out each call of these tools at most once."""

    def __init__(self, tools: Iterable[BaseTool]) -> None:
        super().__init__()
        self._names = {tool.name for tool in tools}

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        saver = get_config()["configurable"].get(CONFIG_KEY_CHECKPOINTER)
        if saver is None or request.tool_call["name"] not in self._names:
            return await handler(request)
        entry = _Entry(saver, _entry_config(request))
        if not await entry.claim():
            return await entry.result() or _unknown(request.tool_call)
        result = await handler(request)
        if isinstance(result, ToolMessage):
            await entry.store(result)
        return result


@dataclass
class _Entry:
    """One call's claim and result in the thread's storage."""

    saver: BaseCheckpointSaver[Any]
    config: RunnableConfig

    async def claim(self) -> bool:
        """Whether this caller is to carry out the call. Of several callers, one is.

        A checkpointer keeps the first of several writes under one key; reading it back tells whose
        it was.
        """
        claim_id, configurable = uuid.uuid4().hex, self.config["configurable"]
        stub = {**empty_checkpoint(), "id": configurable["checkpoint_id"]}
        parent = {k: v for k, v in configurable.items() if k != "checkpoint_id"}
        run_id = str(get_config()["configurable"].get("run_id"))
        await self.saver.aput(
            {"configurable": parent},
            cast(Any, stub),
            {"source": "update", "step": -1, "parents": {}, "run_id": run_id},
            {},
        )
        await self.saver.aput_writes(self.config, [(_CLAIM, claim_id)], _task_id(_CLAIM))
        return bool(await self._read(_CLAIM) == claim_id)

    async def store(self, result: ToolMessage) -> None:
        await self.saver.aput_writes(self.config, [(_RESULT, result)], _task_id(_RESULT))

    async def result(self) -> ToolMessage | None:
        return cast(ToolMessage | None, await self._read(_RESULT))

    async def _read(self, channel: str) -> Any:
        entry: CheckpointTuple | None = await self.saver.aget_tuple(self.config)
        writes = entry.pending_writes or () if entry else ()
        return next((value for _, name, value in writes if name == channel), None)


def _entry_config(request: ToolCallRequest) -> RunnableConfig:
    """The key of this message's call with these arguments: an edited call is another call.

    The message counts, because not every model gives its calls ids that no other call has.
    """
    call, messages = request.tool_call, request.state["messages"]
    message_id = next(m.id for m in reversed(messages) if isinstance(m, AIMessage))
    text = json.dumps([message_id, call["id"], call["name"], call["args"]], sort_keys=True)
    key = str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16]))
    thread_id = get_config()["configurable"]["thread_id"]
    configurable = {"thread_id": thread_id, "checkpoint_ns": _NAMESPACE, "checkpoint_id": key}
    return {"configurable": configurable}


def _task_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def _unknown(call: ToolCall) -> ToolMessage:
    return ToolMessage(UNKNOWN, name=call["name"], tool_call_id=call["id"], status="error")
