"""Graphs that wait for a person, each in its own way."""

from collections import defaultdict
from operator import add
from typing import Annotated, Any, Literal, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.config import get_stream_writer
from langgraph.graph import MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import BaseModel

CARRIED_OUT: dict[str, list[str]] = defaultdict(list)  # by city: nothing is to be done twice


class Trip(TypedDict, total=False):
    """A state without messages."""

    city: str
    booked: Annotated[list[str], add]


async def look(state: Trip) -> dict[str, Any]:
    CARRIED_OUT[state["city"]].append("look")
    return {}


async def hotel(state: Trip) -> dict[str, Any]:
    stars = interrupt({"question": f"How many stars in {state['city']}?"})
    CARRIED_OUT[state["city"]].append("hotel")
    return {"booked": [f"hotel of {stars} stars"]}


async def train(state: Trip) -> dict[str, Any]:
    seat = interrupt("Which seat?", response_schema=Seat)
    CARRIED_OUT[state["city"]].append("train")
    return {"booked": [f"seat by the {seat.place}, {'with' if seat.table else 'no'} table"]}


class Seat(BaseModel):
    """Where somebody sits."""

    place: Literal["window", "aisle"]
    table: bool = False


async def done(state: Trip) -> dict[str, Any]:
    steps = sorted(CARRIED_OUT[state["city"]])
    return {"booked": [f"{len(steps)} steps: {', '.join(steps)}"]}


trip = (
    StateGraph(Trip)
    .add_node(look)
    .add_node(hotel)
    .add_node(train)
    .add_node(done)
    .add_edge("__start__", "look")
    .add_edge("look", "hotel")
    .add_edge("look", "train")
    .add_edge(["hotel", "train"], "done")
    .compile(name="trip")
)


async def book(state: MessagesState) -> dict[str, Any]:
    city = interrupt("Which city?")
    at_least_one = {"type": "integer", "minimum": 1}
    nights = interrupt(f"How many nights in {city}?", response_schema=at_least_one)
    bed = interrupt("Which bed?", response_schema={"enum": ["single", "double"]})
    words = f"{nights} nights in {city}, {bed} bed"
    is_agreed = interrupt({"question": f"{words}: book it?"}, response_schema={"type": "boolean"})
    return {"messages": [AIMessage(f"Booked: {words}." if is_agreed else "Not booked.")]}


concierge = (
    StateGraph(MessagesState).add_node(book).add_edge("__start__", "book").compile(name="concierge")
)


@tool
async def pay(amount: int) -> str:
    """Pay an amount."""
    paid = CARRIED_OUT[str(amount)]
    paid.append("pay")
    return f"Paid {amount}, {len(paid)} times."


class Joke(TypedDict, total=False):
    """What a joke is about, and the joke."""

    topic: str
    joke: str


async def write(state: Joke) -> dict[str, Any]:
    get_stream_writer()({"writing": state["topic"]})
    reply = await ChatOpenAI(model="scripted").ainvoke(f"A joke about {state['topic']}.")
    return {"joke": reply.text}


joke = StateGraph(Joke).add_node(write).add_edge("__start__", "write").compile(name="joke")


class Weather(BaseModel):
    """How the weather is."""

    sky: str
    degrees: int


structured_answer = create_agent(
    ChatOpenAI(model="scripted"), response_format=ToolStrategy(Weather), name="structured_answer"
)

per_call = create_agent(
    ChatOpenAI(model="scripted", max_retries=0),
    [pay],
    middleware=[HumanInTheLoopMiddleware({"pay": True}, interrupt_mode="per_call")],
    name="per_call",
)

per_message = create_agent(
    ChatOpenAI(model="scripted", max_retries=0),
    [pay],
    middleware=[HumanInTheLoopMiddleware({"pay": True})],
    name="per_message",
)


class Manner(TypedDict, total=False):
    """How a run answers: its context."""

    greeting: str


async def thinking(state: Joke) -> dict[str, Any]:
    quiet = ChatOpenAI(model="scripted").with_config(tags=["nostream"])
    await quiet.ainvoke(f"A thought about {state['topic']}.")
    return {}


async def greet(state: Joke, runtime: Runtime[Manner]) -> dict[str, Any]:
    return {"joke": f"{runtime.context.get('greeting')}, {state['topic']}"}


polite = (
    StateGraph(Joke, context_schema=Manner)
    .add_node(thinking)
    .add_node(greet)
    .add_edge("__start__", "thinking")
    .add_edge("thinking", "greet")
    .compile(name="polite")
)
