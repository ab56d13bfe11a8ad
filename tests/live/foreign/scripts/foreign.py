"""Graphs as people write them, of packages that nobody here wrote: no code of this project's."""

from operator import add
from typing import Annotated, Any, TypedDict

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import MessagesState, StateGraph
from langgraph.types import Send
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

model = ChatOpenAI(model="scripted", max_retries=0)


@tool
def add_numbers(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


deepagent = create_deep_agent(
    model=model,
    tools=[add_numbers],
    subagents=[
        {
            "name": "researcher",
            "description": "Looks things up.",
            "system_prompt": "You look things up.",
            "tools": [add_numbers],
        }
    ],
)

supervisor = create_supervisor(
    [create_agent(model, [add_numbers], name="adder"), create_agent(model, [], name="writer")],
    model=model,
    prompt="You send each task to who can do it.",
).compile(name="supervisor")

_to_bob = create_handoff_tool(agent_name="bob")
_to_alice = create_handoff_tool(agent_name="alice")
swarm = create_swarm(
    [
        create_agent(model, [add_numbers, _to_bob], name="alice"),
        create_agent(model, [_to_alice], name="bob"),
    ],
    default_active_agent="alice",
).compile(name="swarm")

parent = (
    StateGraph(MessagesState)
    .add_node("adder", create_agent(model, [add_numbers], name="adder"))
    .add_node("writer", create_agent(model, [], name="writer"))
    .add_edge("__start__", "adder")
    .add_edge("adder", "writer")
    .compile(name="parent")
)


class Subjects(MessagesState):
    """A conversation, and what is to be written about."""

    subjects: list[str]
    lines: Annotated[list[str], add]


class Subject(TypedDict):
    """What one worker writes about."""

    subject: str


async def choose(state: Subjects) -> dict[str, Any]:
    return {"subjects": ["frames", "ids", "joins"]}


def each(state: Subjects) -> list[Send]:
    return [Send("write", {"subject": subject}) for subject in state["subjects"]]


async def write(state: Subject) -> dict[str, Any]:
    reply = await model.ainvoke([HumanMessage(f"A line about {state['subject']}.")])
    return {"lines": [reply.text]}


async def join(state: Subjects) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


map_reduce = (
    StateGraph(Subjects)
    .add_node(choose)
    .add_node(write)
    .add_node(join)
    .add_edge("__start__", "choose")
    .add_conditional_edges("choose", each, ["write"])
    .add_edge("write", "join")
    .compile(name="map_reduce")
)


class Joke(TypedDict, total=False):
    """A state without messages."""

    topic: str
    draft: str
    joke: str


async def draft(state: Joke) -> dict[str, Any]:
    reply = await model.ainvoke([HumanMessage(f"Draft a joke about {state['topic']}.")])
    return {"draft": reply.text}


async def polish(state: Joke) -> dict[str, Any]:
    reply = await model.ainvoke([HumanMessage(f"Polish the joke about {state['topic']}.")])
    return {"joke": reply.text}


no_messages = (
    StateGraph(Joke)
    .add_node(draft)
    .add_node(polish)
    .add_edge("__start__", "draft")
    .add_edge("draft", "polish")
    .compile(name="no_messages")
)
