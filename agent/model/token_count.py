"""How many tokens a message has: counted where the model's vocabulary is at hand, else estimated.

Nothing is downloaded: tiktoken's vocabularies are used where its cache (`TIKTOKEN_CACHE_DIR`) has
them already.
"""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import tiktoken.load
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage

Count = Callable[[str], int]

_MESSAGE_TOKENS = 4  # what surrounds a message: its role and the marks where it begins and ends
_IMAGE_TOKENS = 85  # of a small image at OpenAI; larger ones have more, and a file is a line
_MOST_REMEMBERED = 65_536

# Tokens per character by script, which the first byte in UTF-8 tells. Measured with o200k, OpenAI's
# vocabulary, over translations of one program's texts. Llama 3 and Qwen 3 need about as many for
# European languages, Chinese, Japanese and Korean, and two or three times as many for some others.
_BY_FIRST_BYTE = [
    (0xC2, 0xCD, 1.0),  # Latin letters with accents, which break words up
    (0xCE, 0xCF, 0.42),  # Greek
    (0xD0, 0xD3, 0.32),  # Cyrillic
    (0xD4, 0xD7, 0.48),  # Armenian, Hebrew
    (0xD8, 0xDF, 0.38),  # Arabic
    (0xE0, 0xE0, 0.42),  # of India, Thai
    (0xE1, 0xE1, 0.6),  # Georgian, Burmese, Khmer, Ethiopic
    (0xE2, 0xE2, 1.0),  # punctuation and symbols
    (0xE3, 0xED, 0.75),  # Chinese, Japanese, Korean
    (0xEE, 0xEF, 1.0),
    (0xF0, 0xF4, 2.0),  # emoji
]
_ASCII_RATE = 0.25
_SCRIPTS = [(bytes(range(128)), _ASCII_RATE)] + [
    (bytes(range(first, last + 1)), rate) for first, last, rate in _BY_FIRST_BYTE
]


def _counting_each_text_once(count: Count) -> Count:
    """A thread's messages are counted again at every turn."""
    counted: dict[int, int] = {}

    def count_or_look_up(text: str) -> int:
        key = hash(text)
        if (tokens := counted.get(key)) is None:
            if len(counted) >= _MOST_REMEMBERED:
                counted.clear()
            tokens = counted[key] = count(text)
        return tokens

    return count_or_look_up


@_counting_each_text_once
def _estimate_by_script(text: str) -> int:
    data = text.encode(errors="replace")
    size = len(data)
    counts = ((size - len(data.translate(None, those))) * rate for those, rate in _SCRIPTS)
    return math.ceil(sum(counts))


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, by its characters' scripts."""
    return math.ceil(len(text) * _ASCII_RATE) if text.isascii() else _estimate_by_script(text)


def count_message(message: AnyMessage, count: Count = estimate_tokens) -> int:
    """The tokens of a message as the model is sent it."""
    if isinstance(message.content, str):
        tokens = count(message.content)
    else:
        tokens = sum(_count_block(block, count) for block in message.content)
    if message.name:
        tokens += count(message.name)
    if isinstance(message, AIMessage):
        if reasoning := message.additional_kwargs.get("reasoning_content"):
            tokens += count(reasoning)  # sent back to the endpoints that think aloud
        if message.tool_calls:
            tokens += sum(map(count, _texts_of_calls(message)))
    elif isinstance(message, ToolMessage):
        tokens += count(message.tool_call_id)
    return tokens + _MESSAGE_TOKENS


def _count_block(block: Any, count: Count) -> int:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind in ("image", "image_url") or (kind is not None and "base64" in block):
        return _IMAGE_TOKENS
    text = block.get("text", "") if kind == "text" else block
    return count(text if isinstance(text, str) else _json(text))


def _texts_of_calls(message: AIMessage) -> Iterator[str]:
    for call in message.tool_calls:
        yield from (call["id"] or "", call["name"], _json(call["args"]))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def counter_for(model: str) -> Count:
    """What counts the tokens of `model`; an estimate where its vocabulary is not at hand."""
    encoding = _vocabulary(model)
    if encoding is None:
        return estimate_tokens
    return _counting_each_text_once(lambda text: len(encoding.encode_ordinary(text)))


def _vocabulary(model: str) -> tiktoken.Encoding | None:
    """The model's vocabulary, of tiktoken's cache alone: its download would come at any moment."""

    def refuse(blobpath: str) -> bytes:
        raise FileNotFoundError(blobpath)

    download, tiktoken.load.read_file = tiktoken.load.read_file, refuse
    try:
        return tiktoken.encoding_for_model(model)
    except (KeyError, OSError):  # not a model that it knows, or nothing cached
        return None
    finally:
        tiktoken.load.read_file = download
