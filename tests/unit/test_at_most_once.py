"""Tools with side effects: once, after an approval, and never where neither can be recorded."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.tools import ToolException
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from agent.middleware.at_most_once import UNKNOWN, AtMostOnceTools
from agent.middleware.call_records import CallRecord
from agent.tools import save_note
from agent.tools.mcp import McpTools

CALL: ToolCall = {"name": "save_note", "args": {"title": "a"}, "id": "1", "type": "tool_call"}
ASKING = AIMessage("", id="m", tool_calls=[CALL])


class State(TypedDict):
    """Nothing: the node's work is what is tested."""


async def inside(work: Callable[[], Awaitable[Any]], saver: Any, thread: str = "t") -> Any:
    """The result of `work`, done in a node of a graph with this checkpointer."""
    results = []

    async def node(state: State) -> State:
        results.append(await work())
        return {}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node")
    config: Any = {"configurable": {"thread_id": thread, "run_id": str(uuid.uuid4())}}
    await graph.compile(checkpointer=saver).ainvoke({}, config)
    return results[0]


class Tool:
    """Counts how often it is carried out."""

    def __init__(self) -> None:
        self.times = 0

    async def __call__(self, request: Any) -> ToolMessage:
        self.times += 1
        await asyncio.sleep(0)
        return ToolMessage(f"saved {self.times}", tool_call_id=request.tool_call["id"])


def wrapped(tool: Tool, call: ToolCall = CALL, messages: Any = (ASKING,)) -> Any:
    request: Any = SimpleNamespace(tool_call=call, state={"messages": list(messages)})
    return AtMostOnceTools([save_note], McpTools({})).awrap_tool_call(request, tool)


async def approve() -> None:
    await CallRecord.of(CALL, [ASKING]).approve()


async def test_without_storage_the_call_is_not_carried_out() -> None:
    """A run without a thread's storage says why it carries out nothing, rather than do it twice."""
    tool = Tool()
    with pytest.raises(ToolException, match="no thread"):
        await inside(lambda: wrapped(tool), None)
    assert tool.times == 0


async def test_without_an_approval_the_call_is_not_carried_out() -> None:
    """Nothing on record, or an approval of other arguments: the tool is not called."""
    tool, saver = Tool(), InMemorySaver()
    with pytest.raises(ToolException, match="nobody has approved"):
        await inside(lambda: wrapped(tool), saver)
    await inside(approve, saver)
    other: ToolCall = {**CALL, "args": {"title": "b"}}
    with pytest.raises(ToolException, match="nobody has approved"):
        await inside(lambda: wrapped(tool, other), saver)
    with pytest.raises(ToolException, match="no thread"):
        await inside(lambda: wrapped(tool, messages=[]), saver)
    with pytest.raises(ToolException, match="nobody has approved"):
        await inside(lambda: wrapped(tool), saver, thread="another")
    assert tool.times == 0


async def test_an_approved_call_is_carried_out_once() -> None:
    """However often the step is run, the tool is called once, and its result is given again."""
    tool, saver = Tool(), InMemorySaver()
    await inside(approve, saver)
    results = [await inside(lambda: wrapped(tool), saver) for _ in range(3)]
    assert [result.content for result in results] == ["saved 1"] * 3
    assert tool.times == 1


async def test_a_claim_without_a_result_says_that_it_is_unknown() -> None:
    """A worker that died in the middle leaves a claim: the call is not carried out again."""
    tool, saver = Tool(), InMemorySaver()
    await inside(approve, saver)

    async def claim() -> bool:
        return await CallRecord.of(CALL, [ASKING]).claim()

    assert await inside(claim, saver)
    assert (await inside(lambda: wrapped(tool), saver)).content == UNKNOWN
    assert tool.times == 0


async def test_other_tools_need_no_record() -> None:
    """A tool without side effects is carried out as often as it is asked for."""
    tool, call = Tool(), ToolCall(name="calculate", args={}, id="2", type="tool_call")
    for _ in range(2):
        await inside(lambda: wrapped(tool, call), None)
    assert tool.times == 2
