"""Tools with side effects wait for approval: LangChain's human-in-the-loop, with schemas."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.middleware.human_in_the_loop import (
    ActionRequest,
    InterruptOnConfig,
    ReviewConfig,
)
from langchain.agents.middleware.types import AgentState
from langchain_core.messages import ToolCall
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.runtime import Runtime
from langgraph.types import Interrupt

_ID = re.compile("[0-9a-f]{32}")  # LangGraph takes a dict of such keys for answers by interrupt


class Approval(HumanInTheLoopMiddleware[AgentState[Any], Any, Any]):
    """Each call of these tools waits for a decision: approve, edit, reject or respond.

    The request also holds the tool's argument schema, so that an edit that does not fit can be
    refused before the run continues.
    """

    def __init__(self, tools: Iterable[BaseTool]) -> None:
        self._schemas = {
            tool.name: {
                "additionalProperties": False,
                **convert_to_openai_tool(tool)["function"]["parameters"],
            }
            for tool in tools
        }
        super().__init__(
            dict.fromkeys(self._schemas, True), description_prefix="May the agent do this?"
        )

    def _create_action_and_config(
        self,
        tool_call: ToolCall,
        config: InterruptOnConfig,
        state: AgentState[Any],
        runtime: Runtime[Any],
    ) -> tuple[ActionRequest, ReviewConfig]:
        action, review = super()._create_action_and_config(tool_call, config, state, runtime)
        review["args_schema"] = self._schemas[tool_call["name"]]
        return action, review


def check_answer(answer: Any, interrupts: Sequence[Interrupt]) -> None:
    """Raises ValueError if a run's `resume` value does not fit the requests that wait.

    Studio and the raw API send a decision unchecked, and LangChain would run the tool with it, or
    fail inside.
    """
    from client.errors import SteadyError
    from client.state.decisions import check_fit  # not needed until someone decides

    is_by_id = isinstance(answer, dict) and bool(answer) and all(map(_ID.fullmatch, answer))
    if not is_by_id and len(interrupts) != 1:
        return  # LangGraph raises its own error
    answers = answer if is_by_id else {interrupts[0].id: answer}
    state = {"interrupts": [{"id": each.id, "value": each.value} for each in interrupts]}
    for interrupt_id, value in answers.items():
        decisions = value.get("decisions") if isinstance(value, dict) else None
        try:
            check_fit(state, interrupt_id, decisions if isinstance(decisions, list) else [])
        except SteadyError as error:
            raise ValueError(error.message) from error
