"""Characters outside of Unicode's first plane, which JSON writes as two halves.

Endpoints that cut an answer by UTF-16 units (JavaScript and Java gateways) send the halves of one
character in two events. A half alone is no character: it becomes U+FFFD.
"""

import json
import re
from typing import Any

import orjson

_HALF = re.compile("[\ud800-\udfff]")
_ESCAPE = re.compile(
    r"\\(?:(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class Halves:
    """Joins the halves of a character in the texts of one message, one reasoning or one call."""

    def __init__(self) -> None:
        self.pending = ""

    def add(self, text: str) -> str:
        """The text with its halves joined; one at the end is kept back for the next text."""
        text = self.pending + text
        self.pending = ""
        if _HALF.search(text) is None:
            return text
        if "\ud800" <= text[-1] <= "\udbff":
            text, self.pending = text[:-1], text[-1]
        return whole_characters(text)

    def end(self) -> str:
        """What was kept back, whose other half never came."""
        pending, self.pending = self.pending, ""
        return "\ufffd" if pending else ""


def whole_characters(text: str) -> str:
    """The text with halves joined, and U+FFFD for one that stands alone."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def without_halves(value: Any) -> Any:
    """Any JSON value, in which every text can be written as UTF-8."""
    if isinstance(value, str):
        return whole_characters(value) if _HALF.search(value) else value
    if isinstance(value, list):
        return [without_halves(item) for item in value]
    if isinstance(value, dict):
        return {without_halves(key): without_halves(item) for key, item in value.items()}
    return value


def escaped_halves(text: str) -> str:
    r"""JSON text in which an escaped half that stands alone is \ufffd, of the same length."""
    return _ESCAPE.sub(lambda m: r"\ufffd" if m["half"] else m[0], text)


def loads(data: bytes) -> Any:
    """A JSON value, however loosely it is written. Raises ValueError or RecursionError.

    Bytes that are no UTF-8 become U+FFFD, halves of characters stay as they are.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data.decode("utf-8", "replace"), strict=False)


def dumps(value: Any) -> bytes:
    """A JSON value as UTF-8."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half a character, or an integer of more than 64 bits
        return json.dumps(without_halves(value), ensure_ascii=False).encode()
