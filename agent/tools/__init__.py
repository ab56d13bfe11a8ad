"""The agent's tools, and which of them need a person's approval.

To add one, write a function with `@tool` and a docstring in a file of this folder, and add it to
TOOLS.
"""

from langchain_core.tools import BaseTool

from agent.tools.calculator import calculate
from agent.tools.clock import current_time
from agent.tools.documentation import search_docs
from agent.tools.memory import recall, remember
from agent.tools.notes import save_note
from agent.tools.weather import get_weather

TOOLS: list[BaseTool] = [get_weather, calculate, search_docs, current_time, save_note]
# A tool with side effects: each call waits for approval, and is carried out at most once.
NEEDS_APPROVAL: list[BaseTool] = [save_note]
# Left out where STEADY_MEMORY is false.
MEMORY_TOOLS: list[BaseTool] = [remember, recall]
