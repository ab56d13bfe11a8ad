"""Tools' results as endpoints take them: text, and pictures where the API takes them. Pure."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage

Pictures = Literal["within", "after", "left out"]

AFTER_RESULTS = "The pictures of the results above, in their order:"
_AFTER = "[image: it comes after the results]"
_NOT_TEXT = ("image", "image_url", "audio", "input_audio", "video", "file", "media")
_PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")  # that models take
_MOST_PICTURES = 10  # the latest: agents take one screenshot after another


def pictures_of(message: BaseMessage) -> list[Any]:
    """The pictures of a tool's result, of kinds that models take."""
    if not isinstance(message, ToolMessage) or isinstance(message.content, str):
        return []
    return [block for block in message.content if _is_picture(block)]


def with_results(messages: Sequence[BaseMessage], pictures: Pictures) -> Iterator[BaseMessage]:
    """The messages, with tools' results as text, and the latest of their pictures.

    `pictures`: they stay within the results (the Responses API); or come after them, as a message
    of the user (chat completions have no other place); or are left out.
    """
    found = sum(len(pictures_of(message)) for message in messages)
    left_out = found if pictures == "left out" else found - _MOST_PICTURES
    after: list[Any] = []
    for message in messages:
        if not isinstance(message, ToolMessage):
            yield from _shown(after)
            after = []
            yield message
            continue
        shown = pictures_of(message)
        left_out, shown = left_out - len(shown), shown[max(left_out, 0) :]
        yield _result(message, shown, is_within=pictures == "within")
        after += shown if pictures == "after" else ()
    yield from _shown(after)


def _is_picture(block: Any) -> bool:
    kind = block.get("type") if isinstance(block, dict) else None
    is_taken = kind == "image" and ("url" in block or block.get("mime_type") in _PICTURES)
    return is_taken or kind == "image_url"


def _shown(pictures: Sequence[Any]) -> Iterator[HumanMessage]:
    if pictures:
        yield HumanMessage([{"type": "text", "text": AFTER_RESULTS}, *pictures])


def _result(message: ToolMessage, shown: Sequence[Any], *, is_within: bool) -> ToolMessage:
    """The result as one text, with these of its pictures `is_within`, or a line for each."""
    if isinstance(message.content, str):
        return message
    texts = (block for block in message.content if not (is_within and block in shown))
    content: Any = "\n".join(_AFTER if block in shown else _text_of(block) for block in texts)
    if shown and is_within:
        content = [{"type": "text", "text": content}, *shown]
    return message.model_copy(update={"content": content})


def _text_of(block: Any) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text":
        return str(block.get("text", ""))
    if kind in _NOT_TEXT:
        return f"[{kind} left out: a tool's result is sent as text]"
    return json.dumps(block, ensure_ascii=False, default=str)
