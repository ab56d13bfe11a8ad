"""Graphs whose models also speak to the program: in tools, middleware, routing, subgraphs."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.func import entrypoint
from langgraph.graph import MessagesState, StateGraph
from pydantic import BaseModel

from agent.model.chat_model import chat_model


@tool
async def ask_expert(topic: str) -> str:
    """Ask an expert about a topic."""
    reply = await chat_model().ainvoke([HumanMessage(f"Expert on {topic}?")])
    return f"The expert wrote {len(reply.text)} characters."


inside_tool = create_agent(chat_model(), [ask_expert], name="inside_tool")

summarizing = create_agent(
    chat_model(),
    middleware=[
        SummarizationMiddleware(chat_model(), trigger=("messages", 2), keep=("messages", 1))
    ],
    name="summarizing",
)


class Route(BaseModel):
    """Where a question goes."""

    department: str


async def route(state: MessagesState) -> dict[str, Any]:
    chosen = chat_model().with_structured_output(Route, method="json_schema")
    await chosen.ainvoke([HumanMessage("Which department?")])
    return {}


async def call_route(state: MessagesState) -> dict[str, Any]:
    chosen = chat_model().with_structured_output(Route, method="function_calling")
    await chosen.ainvoke([HumanMessage("Which department, by call?")])
    return {}


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await chat_model().ainvoke(state["messages"])]}


structured = (
    StateGraph(MessagesState)
    .add_node(route)
    .add_node(call_route)
    .add_node(answer)
    .add_edge("__start__", "route")
    .add_edge("route", "call_route")
    .add_edge("call_route", "answer")
    .compile(name="structured")
)

_draft = create_agent(chat_model(), name="draft")


async def drafting(state: MessagesState) -> dict[str, Any]:
    await _draft.ainvoke({"messages": [HumanMessage("Draft it.")]})
    return {}


subgraph = (
    StateGraph(MessagesState)
    .add_node(drafting)
    .add_node(answer)
    .add_edge("__start__", "drafting")
    .add_edge("drafting", "answer")
    .compile(name="subgraph")
)


@entrypoint()
async def counting(given: dict[str, Any]) -> int:
    return len(given["messages"])
