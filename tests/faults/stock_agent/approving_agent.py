"""An agent as LangChain's own documentation builds it, with a tool that a person approves."""

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def save_note(title: str, text: str) -> str:
    """Save a note."""
    return f"Saved {title}."


@tool
def calculate(expression: str) -> str:
    """Calculate."""
    return f"{expression} = 42"


graph = create_agent(
    ChatOpenAI(model="gpt-5-mini", stream_usage=True),
    [save_note, calculate],
    middleware=[HumanInTheLoopMiddleware(interrupt_on={"save_note": True})],
)
