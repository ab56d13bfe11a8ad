"""Reading messages in the JSON form that LangChain and the server give them. Pure."""

from ..events import JSON, ToolResult


def text_of(message: JSON) -> str:
    """A message's text: its content, or the text blocks of it."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(
        block if isinstance(block, str) else block.get("text", "")
        for block in content
        if isinstance(block, str) or block.get("type") == "text"
    )


def reasoning_of(message: JSON) -> str:
    """A message's reasoning, from `reasoning_content` or from reasoning blocks' summaries."""
    if told := (message.get("additional_kwargs") or {}).get("reasoning_content"):
        return str(told)
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return "".join(
        block.get("reasoning") or "".join(s.get("text", "") for s in block.get("summary") or ())
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "reasoning"
    )


def tool_result(message: JSON) -> ToolResult:
    """A tool message, as the event that tells of it."""
    return ToolResult(
        id=str(message.get("tool_call_id")),
        tool=str(message.get("name") or ""),
        status="error" if message.get("status") == "error" else "ok",
        content=text_of(message),
    )
