"""What happened to a tool call with side effects: its approval, its claim, its result.

The records lie in the thread's storage beside its checkpoints, and are deleted and copied with
them. They are no part of the thread's state: nobody can write one by updating that.
"""

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import ToolException
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint
from langgraph.config import get_config
from langgraph.constants import CONFIG_KEY_CHECKPOINTER

_NAMESPACE = "steady-calls"
_APPROVAL, _CLAIM, _RESULT = "approval", "claim", "result"


@dataclass(frozen=True)
class CallRecord:
    """The record of one call of one message, with these arguments: an edited call is another.

    The message counts, because not every model gives its calls ids that no other call has.
    """

    saver: BaseCheckpointSaver[Any]
    config: RunnableConfig

    @classmethod
    def of(cls, call: ToolCall, messages: Sequence[AnyMessage]) -> Self:
        """The record of a call of the last model message.

        Raises ToolException if the run has no thread to record it in, or no such message.
        """
        configurable = get_config()["configurable"]
        saver = configurable.get(CONFIG_KEY_CHECKPOINTER)
        message = next((m for m in reversed(messages) if isinstance(m, AIMessage)), None)
        if not isinstance(saver, BaseCheckpointSaver) or message is None:
            raise ToolException(
                f"The tool {call['name']} was not carried out: this run has no thread in which "
                "its approval and its result can be recorded."
            )
        text = json.dumps([message.id, call["id"], call["name"], call["args"]], sort_keys=True)
        key = str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16]))
        place = {"thread_id": configurable["thread_id"], "checkpoint_ns": _NAMESPACE}
        return cls(saver, {"configurable": {**place, "checkpoint_id": key}})

    async def approve(self) -> None:
        """Records that a person approved the call."""
        await self._write(_APPROVAL, True)

    async def is_approved(self) -> bool:
        """Whether a person approved the call."""
        return bool(await self._read(_APPROVAL))

    async def claim(self) -> bool:
        """Whether this caller is to carry out the call. Of several callers, one is.

        A checkpointer keeps the first of several writes under one key; reading it back tells whose
        it was.
        """
        claim_id = uuid.uuid4().hex
        await self._write(_CLAIM, claim_id)
        return bool(await self._read(_CLAIM) == claim_id)

    async def store(self, result: ToolMessage) -> None:
        """Records the call's result."""
        await self._write(_RESULT, result)

    async def result(self) -> ToolMessage | None:
        """The recorded result; None if there is none."""
        return cast(ToolMessage | None, await self._read(_RESULT))

    async def _write(self, channel: str, value: Any) -> None:
        """Stores a value under an empty checkpoint, because each write needs one."""
        configurable = self.config["configurable"]
        stub = {**empty_checkpoint(), "id": configurable["checkpoint_id"]}
        parent = {k: v for k, v in configurable.items() if k != "checkpoint_id"}
        run_id = str(get_config()["configurable"].get("run_id"))
        await self.saver.aput(
            {"configurable": parent},
            cast(Any, stub),
            {"source": "update", "step": -1, "parents": {}, "run_id": run_id},
            {},
        )
        task_id = str(uuid.uuid5(uuid.NAMESPACE_OID, channel))
        await self.saver.aput_writes(self.config, [(channel, value)], task_id)

    async def _read(self, channel: str) -> Any:
        record: CheckpointTuple | None = await self.saver.aget_tuple(self.config)
        writes = record.pending_writes or () if record else ()
        return next((value for _, name, value in writes if name == channel), None)
