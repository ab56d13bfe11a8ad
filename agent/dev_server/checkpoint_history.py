"""The server asks a custom checkpointer for a delta channel's history in one query.

Its adapter around custom checkpointers has every method but this one, and so reads checkpoint by
checkpoint: 60 ms of CPU a turn instead of 10.
"""

from typing import Any

from agent.dev_server.patch import Patch, Shape


def _apply(module: Any) -> None:
    async def ask_inner(self: Any, **query: Any) -> Any:
        return await self._inner.aget_delta_channel_history(**query)

    module._CustomCheckpointerAdapter.aget_delta_channel_history = ask_inner


CHECKPOINT_HISTORY = Patch(
    name="history in one query",
    module="langgraph_api._checkpointer._adapter",
    replaces={
        "_CustomCheckpointerAdapter.__init__": Shape(
            "self inner capabilities", "self._inner = inner"
        ),
        # inherited: the adapter has none of its own
        "_CustomCheckpointerAdapter.aget_delta_channel_history": Shape(
            "self config channels", "tup = await self.aget_tuple(cursor_config)"
        ),
    },
    apply=_apply,
    loss="a turn of a long thread costs 50 ms more",
)
