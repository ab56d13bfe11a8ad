"""An agent as LangGraph's own documentation builds it."""

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


graph = create_agent(
    ChatOpenAI(model="gpt-5-mini", stream_usage=True),
    [get_weather],
    system_prompt="You are a helpful assistant.",
)
