"""What a response is made of: texts, calls and requests for approval, with their events. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from openai.types import responses as out
from openai.types.responses import response_reasoning_summary_part_added_event as part_added
from openai.types.responses import response_reasoning_summary_part_done_event as part_done
from openai.types.responses.mcp_tool_call_error import McpToolExecutionError
from openai.types.responses.response_output_item import McpApprovalRequest, McpCall
from openai.types.responses.response_reasoning_item import Summary
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from pydantic import BaseModel

from agent.http.protocols.approvals import Call
from client import ToolResult

SERVER_LABEL = "agent"  # the protocol knows tools of the caller, and those of such servers

JSON = dict[str, Any]
Kinds = Iterator[tuple[type[BaseModel], JSON]]  # kinds of events, with their fields


@dataclass
class Text:
    """The item that is being written: part of the answer, or of the reasoning; of one message.

    It has one part, whose events these are.
    """

    index: int
    message_id: str
    is_reasoning: bool
    pieces: list[str] = field(default_factory=list)

    @property
    def _id(self) -> str:
        return f"{'rs' if self.is_reasoning else 'msg'}_{self.index}_{self.message_id}"

    @property
    def _place(self) -> JSON:
        part = "summary_index" if self.is_reasoning else "content_index"
        return {"item_id": self._id, "output_index": self.index, part: 0}

    def item(self, status: Any) -> BaseModel:
        """The item as it is now."""
        text = "".join(self.pieces)
        if self.is_reasoning:
            summary = [Summary(text=text, type="summary_text")] if text else []
            return out.ResponseReasoningItem(
                id=self._id, summary=summary, type="reasoning", status=status
            )
        content: Any = [_output_text(text)] if text else []
        return out.ResponseOutputMessage(
            id=self._id, content=content, role="assistant", status=status, type="message"
        )

    def begin(self) -> Kinds:
        if self.is_reasoning:
            part: Any = part_added.Part(text="", type="summary_text")
            yield out.ResponseReasoningSummaryPartAddedEvent, {**self._place, "part": part}
        else:
            yield out.ResponseContentPartAddedEvent, {**self._place, "part": _output_text("")}

    def delta(self, text: str) -> tuple[type[BaseModel], JSON]:
        if self.is_reasoning:
            return out.ResponseReasoningSummaryTextDeltaEvent, {**self._place, "delta": text}
        return out.ResponseTextDeltaEvent, {**self._place, "delta": text, "logprobs": []}

    def end(self) -> Kinds:
        text = "".join(self.pieces)
        if self.is_reasoning:
            part: Any = part_done.Part(text=text, type="summary_text")
            yield out.ResponseReasoningSummaryTextDoneEvent, {**self._place, "text": text}
            yield out.ResponseReasoningSummaryPartDoneEvent, {**self._place, "part": part}
        else:
            yield out.ResponseTextDoneEvent, {**self._place, "text": text, "logprobs": []}
            yield out.ResponseContentPartDoneEvent, {**self._place, "part": _output_text(text)}


@dataclass
class RunningCall:
    """A call whose result is awaited."""

    index: int
    call_id: str
    call: Call

    @property
    def _place(self) -> JSON:
        return {"item_id": f"mcp_{self.call_id}", "output_index": self.index}

    def item(self, status: Any, **result: Any) -> BaseModel:
        """The item as it is now; its arguments are there once it has begun."""
        return McpCall(
            id=f"mcp_{self.call_id}",
            arguments=self.call.arguments,
            name=self.call.tool,
            server_label=SERVER_LABEL,
            type="mcp_call",
            status=status,
            **result,
        )

    def begin(self) -> Kinds:
        text = self.call.arguments
        yield out.ResponseMcpCallInProgressEvent, self._place
        yield out.ResponseMcpCallArgumentsDeltaEvent, {**self._place, "delta": text}
        yield out.ResponseMcpCallArgumentsDoneEvent, {**self._place, "arguments": text}

    def end(self, result: ToolResult) -> tuple[type[BaseModel], JSON, BaseModel]:
        """The event of its end, with its fields, and the item."""
        if result.status == "ok":
            item = self.item("completed", output=result.content)
            return out.ResponseMcpCallCompletedEvent, self._place, item
        content = [{"type": "text", "text": result.content}]
        error = McpToolExecutionError(content=content, type="mcp_tool_execution_error")
        return out.ResponseMcpCallFailedEvent, self._place, self.item("failed", error=error)


def approval_request(approval_id: str, call: Call) -> McpApprovalRequest:
    """The item that asks a person whether a call may be carried out."""
    return McpApprovalRequest(
        id=approval_id,
        arguments=call.arguments,
        name=call.tool,
        server_label=SERVER_LABEL,
        type="mcp_approval_request",
    )


def usage(input_tokens: int, output_tokens: int) -> out.ResponseUsage:
    """The token counts of all calls of the model."""
    return out.ResponseUsage(
        input_tokens=input_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=0, cache_write_tokens=0),
        output_tokens=output_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        total_tokens=input_tokens + output_tokens,
    )


def _output_text(text: str) -> out.ResponseOutputText:
    return out.ResponseOutputText(annotations=[], text=text, type="output_text")
