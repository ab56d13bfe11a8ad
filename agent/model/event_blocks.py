"""Server-sent events, cut out of bytes as they arrive: pure."""

import re

from agent.model.dialects.failures import UnusableAnswer

LONGEST_EVENT_BYTES = 16 * 1024 * 1024  # a whole answer in one event, or an image in one
_BLANK_LINE = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2}")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Blocks:
    """Cuts an event stream into its blocks, at blank lines of any line ending."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._has_begun = False

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that are complete now. Raises UnusableAnswer for one without an end."""
        rest = self._rest
        unseen = max(len(rest) - 3, 0)  # no blank line ends before it
        rest += data
        if not self._has_begun:
            if len(rest) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(rest):
                return []
            self._has_begun = True
            if rest.startswith(_BYTE_ORDER_MARK):
                del rest[: len(_BYTE_ORDER_MARK)]
        if not _has_blank_line(rest, unseen):
            if len(rest) > LONGEST_EVENT_BYTES:
                size = LONGEST_EVENT_BYTES // (1024 * 1024)
                rest.clear()  # the error's traceback holds this frame until a garbage collection
                raise UnusableAnswer(f"sent one event of more than {size} MB.")
            return []
        if b"\r" in rest:
            *blocks, last = _BLANK_LINE.split(bytes(rest))
        else:
            *blocks, last = bytes(rest).split(b"\n\n")
        self._rest = bytearray(last)
        return blocks

    def end(self) -> bytes:
        """The last block, which some endpoints send without a blank line."""
        rest, self._rest = bytes(self._rest), bytearray()
        return rest


def _has_blank_line(buffer: bytearray, start: int) -> bool:
    """The pattern looks at each byte in turn, which would cost more than all the rest."""
    if buffer.find(b"\n\n", start) >= 0:
        return True
    return buffer.find(b"\r", start) >= 0 and _BLANK_LINE.search(buffer, start) is not None


def fields_of(block: bytes) -> tuple[str, bytes | None]:
    """A block's event name and data: None where it has none, as comments, pings and ids."""
    if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
        return "", block[6:]
    name, data = "", list[bytes]()
    for line in _LINE_END.split(block):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.strip().decode("utf-8", "replace")
        elif field == b"error":  # llama.cpp
            name, data = "error", [value]
    return name, b"\n".join(data) if data else None
