"""What a run has come to, in one object."""

from dataclasses import dataclass, field
from typing import Any

from .events import JSON, Interrupt, Status, Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run has come to. Its `str` is the text.

    Attributes:
        text: the answer's text; empty where the run waits, or its graph answers in another way.
        status: `success`, `interrupted` (it waits) or `stopped`.
        thread_id: the thread, for what is said next.
        run_id: the run.
        tool_calls: the complete tool calls, as `{"id", "name", "args"}`. Default: none.
        usage: the tokens of all model calls together. None, the default: no model reported them.
        interrupts: what it waits for. Default: nothing.
        state: the values of the thread's state at the end: any JSON value. Default: an empty
            object.
    """

    text: str
    status: Status
    thread_id: str
    run_id: str
    tool_calls: list[JSON] = field(default_factory=list)
    usage: Usage | None = None
    interrupts: list[Interrupt] = field(default_factory=list)
    state: Any = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text

    @property
    def structured_response(self) -> Any:
        """What a graph with a `response_format` answers; None for others."""
        return self.state.get("structured_response") if isinstance(self.state, dict) else None
