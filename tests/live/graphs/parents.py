"""Graphs that have this project's agents in them, and keep what those have said when stopped."""

import asyncio
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import StateGraph

from agent.graph import MODEL_MIDDLEWARE
from agent.middleware.stoppable_graph import StoppableGraph
from agent.middleware.thread_state import ThreadState
from agent.model.chat_model import chat_model


@tool
async def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"All about {topic}."


@tool
async def wait() -> str:
    """Wait for long."""
    await asyncio.sleep(60)
    return "It came."


@tool
async def ask_writer(topic: str) -> str:
    """Ask the writer."""
    answered = await _writer.ainvoke({"messages": [HumanMessage(f"Write about {topic}.")]})
    return str(answered["messages"][-1].text)


def _agent(name: str) -> StoppableGraph:
    made = create_agent(
        chat_model(),
        [look_up, wait, ask_writer],
        middleware=MODEL_MIDDLEWARE,
        state_schema=ThreadState,
        name=name,
    )
    return StoppableGraph.of(made)


_researcher, _writer = _agent("researcher"), _agent("writer")


async def writing(state: ThreadState) -> dict[str, Any]:
    """Writes to a question of its own: of its thread, the answer alone is kept."""
    answered = await _writer.ainvoke({"messages": [HumanMessage("Write it up.")]})
    return {"messages": [answered["messages"][-1]]}


parent = StoppableGraph.of(
    StateGraph(ThreadState)
    .add_node("researcher", _researcher)
    .add_node(writing)
    .add_edge("__start__", "researcher")
    .add_edge("researcher", "writing")
    .compile(name="parent")
)
