"""The step of `Approval` comes after calls alone, and a run that ended without it is whole."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from agent.middleware.approval import Approval, only_after_calls
from agent.middleware.unfinished_run import latest_checkpoint, may_be_unfinished
from agent.tools.mcp import McpTools

STEP = "Approval.after_model"


class Model(GenericFakeChatModel):
    def bind_tools(self, *args: Any, **kwargs: Any) -> Any:
        return self


class Later(AgentMiddleware[Any, Any]):
    def after_model(self, state: Any, runtime: Any) -> None: ...


class AtTheEnd(AgentMiddleware[Any, Any]):
    def after_agent(self, state: Any, runtime: Any) -> None: ...


@tool
def look() -> str:
    """Looks."""
    return "seen"


def graph_of(*middleware: AgentMiddleware[Any, Any]) -> Any:
    """An agent whose model first calls a tool, and then says what it sees."""
    call = ToolCall(name="look", args={}, id="1")
    model = Model(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("I see.")]))
    approval = Approval([], McpTools({}))
    graph = create_agent(
        model, [look], middleware=[approval, *middleware], checkpointer=InMemorySaver()
    )
    only_after_calls(graph)
    return graph


@pytest.mark.parametrize(
    ("middleware", "nodes"),
    [
        ((), ["model", STEP, "tools", "model"]),
        ((AtTheEnd(),), ["model", STEP, "tools", "model", "AtTheEnd.after_agent"]),
        (
            (Later(),),
            ["model", "Later.after_model", STEP, "tools", "model", "Later.after_model", STEP],
        ),
    ],
)
async def test_an_answer_without_calls_ends_where_approval_would_send_it(
    middleware: Any, nodes: list[str]
) -> None:
    """After a call comes `Approval`; after an answer what comes after the agent. With another hook
    between them, LangChain's edges stay."""
    graph, thread = graph_of(*middleware), {"configurable": {"thread_id": "1"}}
    asked = {"messages": [("user", "Look.")]}
    steps = [step async for step in graph.astream(asked, thread, stream_mode="updates")]
    assert [node for step in steps for node in step] == nodes


@pytest.mark.parametrize("halt", ["model", STEP, "tools"])
async def test_a_run_that_ended_is_told_from_one_that_has_more_to_do(halt: str) -> None:
    """Where a next step was due, the last one may be unfinished; after the answer it is not."""
    graph, thread = graph_of(), {"configurable": {"thread_id": "1"}}
    asked = {"messages": [("user", "Look.")]}
    await graph.ainvoke(asked, thread, interrupt_after=[halt])
    keys = graph.builder.channels
    assert may_be_unfinished(await latest_checkpoint(graph.checkpointer, thread), keys)
    await graph.ainvoke(None, thread)
    assert not may_be_unfinished(await latest_checkpoint(graph.checkpointer, thread), keys)
