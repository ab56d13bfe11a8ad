"""Reading messages in the JSON form that LangChain and the server give them. Pure."""

from typing import Any

from ..events import JSON, ToolResult

_MEDIA = ("image", "image_url", "audio", "input_audio", "video", "file", "media")  # LangChain's


def text_of(message: JSON) -> str:
    """The text of a message of a thread: its content, or the text blocks of it.

    Args:
        message: as `Threads.messages` has it, or as a run's input.

    Returns:
        The text; empty where the message has none.
    """
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
    if text := (message.get("additional_kwargs") or {}).get("reasoning_content"):
        return str(text)
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return "".join(
        block.get("reasoning") or "".join(s.get("text", "") for s in block.get("summary") or ())
        for block in blocks
        if isinstance(block, dict) and block.get("type") == "reasoning"
    )


def tool_result(message: JSON) -> ToolResult:
    """The event of a tool message."""
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return ToolResult(
        id=str(message.get("tool_call_id")),
        tool=str(message.get("name") or ""),
        status="error" if message.get("status") == "error" else "ok",
        content=text_of(message),
        media=[
            block for block in blocks if isinstance(block, dict) and block.get("type") in _MEDIA
        ],
    )


def messages_in(state: Any) -> list[JSON]:
    """The messages of a state's values, or of what a node changed in them."""
    if isinstance(state, list):  # several changes of one node
        changes = [change for change in state if isinstance(change, dict)]
        return [message for change in changes for message in messages_in(change)]
    messages = state.get("messages") if isinstance(state, dict) else None
    if isinstance(messages, dict):
        messages = [messages]
    return [message for message in messages or () if isinstance(message, dict)]
