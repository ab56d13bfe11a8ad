"""Callbacks for each piece of an answer, called without a task group for each.

LangChain gathers the callbacks that are to run beside the caller, even where there are none: those
of LangGraph's streams and of its tracers all run in the caller's own task.
"""

import inspect
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.callbacks.manager import handle_event


def with_direct_tokens(manager: AsyncCallbackManagerForLLMRun) -> AsyncCallbackManagerForLLMRun:
    """The same manager; where no callback is to be waited for, it calls them one after another."""
    handlers = manager.handlers
    if not all(handler.run_inline for handler in handlers) or any(
        inspect.iscoroutinefunction(handler.on_llm_new_token) for handler in handlers
    ):
        return manager
    run = {
        "run_id": manager.run_id,
        "parent_run_id": manager.parent_run_id,
        "tags": manager.tags,
    }

    async def on_llm_new_token(token: Any, *, chunk: Any = None, **more: Any) -> None:
        handle_event(handlers, "on_llm_new_token", "ignore_llm", token, chunk=chunk, **run, **more)

    manager.on_llm_new_token = on_llm_new_token  # type: ignore[method-assign]
    return manager
