"""The pure half of reading a model: bytes of a response go in, regular frames come out.

Each event is parsed once, made regular (`agent.model.dialects`), framed, and written for the OpenAI
SDK. Text in a row, whose events are equal but for the text, takes a short way: once one such event
has gone through, the next are told by the bytes around the text, and only the text is parsed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from agent.model.dialects import ChatCompletions, Responses, UnusableAnswer
from agent.model.dialects.failures import raise_error_of, unreadable
from agent.model.dialects.halves import loads
from agent.model.dialects.tool_calls import offer_of
from agent.model.event_blocks import LONGEST_EVENT_BYTES, Blocks, fields_of
from agent.model.framer import DONE, Framer, TextShape, text_shape
from agent.settings import LONGEST_ANSWER_CHARACTERS

JSON = dict[str, Any]


class Dialect(Protocol):
    """What the two APIs' dialects have in common."""

    @property
    def has_ended(self) -> bool: ...
    def add(self, event: Any, name: str = "") -> list[JSON]: ...
    def passes(self, event: JSON) -> Callable[[str], bool] | None: ...
    def mark_done(self) -> None: ...
    def end(self) -> list[JSON]: ...


@dataclass(frozen=True, slots=True)
class _Known:
    """An event of text whose bytes are known around the text; `shape` is of the regular one."""

    shape: TextShape
    before: bytes
    after: bytes
    passes: Callable[[str], bool]


class AnswerReader:
    """Reads one answer. `framer` has what is ready.

    `request` is the body that is answered, `path` that of its URL. `hidden_openings` are models
    whose answers begin in the middle of reasoning; what is learned is added.
    """

    def __init__(
        self,
        framer: Framer,
        *,
        path: str = "/chat/completions",
        request: bytes = b"{}",
        hidden_openings: set[str] | None = None,
        longest_characters: int = LONGEST_ANSWER_CHARACTERS,
    ) -> None:
        self.framer = framer
        hidden = set() if hidden_openings is None else hidden_openings
        self._dialect: Dialect = (
            Responses(lambda: offer_of(request))
            if path.endswith("/responses")
            else ChatCompletions(lambda: offer_of(request), hidden)
        )
        self._blocks = Blocks()
        self._whole: bytearray | None = bytearray()  # until it is seen to be an event stream
        self._known: _Known | None = None
        self._is_done = False
        self._characters_left = longest_characters
        self._longest_characters = longest_characters

    @property
    def has_ended(self) -> bool:
        """Whether the answer is complete, although the response may not have ended."""
        return self._is_done or self._dialect.has_ended

    def feed(self, data: bytes) -> None:
        """Adds bytes that arrived. Raises UnusableAnswer."""
        if self._whole is not None:
            self._whole += data
            if len(self._whole) > LONGEST_EVENT_BYTES:
                self._whole.clear()  # as in Blocks.feed
                raise unreadable()
            start = self._whole.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
            if not start or start in b"{[<":
                return
            data, self._whole = bytes(self._whole), None
        blocks = self._blocks.feed(data)
        at = 0
        while at < len(blocks):
            at = self._add_row(blocks, at)

    def end(self) -> None:
        """The response has ended. Raises UnusableAnswer where the answer has not."""
        if self._is_done:
            return
        if self._whole is None:
            if block := self._blocks.end():
                try:
                    self._add(block)
                except UnusableAnswer:
                    if not self.has_ended:  # else it was cut behind a whole answer
                        raise
        elif self._whole.strip():
            self._add_whole(bytes(self._whole))
        if not self._is_done:
            self._finish()

    def _add_row(self, blocks: list[bytes], start: int) -> int:
        """Adds the block at `start`, with those behind it that go the same short way."""
        known, at = self._known, start
        if known is None:
            self._add(blocks[start])
            return start + 1
        before, after, literals = known.before, known.after, list[bytes]()
        while at < len(blocks) and blocks[at].startswith(before) and blocks[at].endswith(after):
            literals.append(blocks[at][len(before) : len(blocks[at]) - len(after)])
            at += 1
            if not self.framer.merges:
                break
        text = _joined(literals)
        if text and known.passes(text):
            self._count(len(text))
            self.framer.add_text(known.shape, text)
            return at
        at = max(at, start + 1)
        for block in blocks[start:at]:
            self._add(block)
        return at

    def _add(self, block: bytes) -> None:
        if self._is_done:
            return
        name, data = fields_of(block)
        if data is None or not data.strip():
            return
        if data.lstrip(b' "').startswith(b"[DONE]"):
            self._dialect.mark_done()
            self._finish()
            return
        try:
            event = loads(data)
        except (ValueError, RecursionError) as error:
            if name == "error":
                raise_error_of(data.decode("utf-8", "replace"), name)
            raise unreadable() from error
        self._tell(self._regular(event, name), block)

    def _tell(self, events: list[JSON], block: bytes = b"") -> None:
        for event in events:
            found = text_shape(event)
            if found is None:
                self.framer.add(event)
                continue
            shape, text = found
            self._count(len(text))
            is_new = self._known is None or not self._known.shape.matches(shape)
            if block and is_new and len(events) == 1:
                self._known = self._learn(block, shape, text)
            self.framer.add_text(shape, text)

    def _learn(self, block: bytes, shape: TextShape, text: str) -> _Known | None:
        """The short way for events like this one, if there is any."""
        passes = self._dialect.passes(shape.event)
        before, found, after = block.rpartition(orjson.dumps(text))
        if passes is None or not found:
            return None
        this, other = _shape_of(block), _shape_of(before + rb'"\u0000"' + after)
        if this is None or other is None or other[1] != "\0" or not this[0].matches(other[0]):
            return None
        return _Known(shape, before, after, passes)

    def _add_whole(self, body: bytes) -> None:
        """A response that is no event stream, although one was asked for."""
        text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
        if text.startswith(b"<"):
            raise no_endpoint("answers with a web page")
        try:
            event = loads(text)
        except (ValueError, RecursionError):
            self._add_lines(text)
            return
        events = self._regular(event, "")
        if not events and not self._dialect.has_ended:
            raise no_endpoint("answers with JSON that is no completion")
        self._dialect.mark_done()
        self._tell(events)

    def _add_lines(self, text: bytes) -> None:
        """Events without `data:`, one a line."""
        for line in filter(None, map(bytes.strip, text.split(b"\n"))):
            self._add(line if line.startswith(b"data:") else b"data: " + line)

    def _finish(self) -> None:
        self._is_done = True
        try:
            events = self._dialect.end()
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise unreadable() from error
        self._tell(events)
        self.framer.add_bytes(DONE)

    def _regular(self, event: Any, name: str) -> list[JSON]:
        """Whatever an event is made of, it is understood or a failure with a name."""
        try:
            return self._dialect.add(event, name)
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            raise unreadable() from error

    def _count(self, characters: int) -> None:
        self._characters_left -= characters
        if self._characters_left < 0:
            raise UnusableAnswer(
                f"did not come to an end within {self._longest_characters} characters: "
                "raise STEADY_LONGEST_ANSWER_CHARACTERS, or choose another model.",
                can_help=False,
            )


def no_endpoint(what: str) -> UnusableAnswer:
    """Of a server that speaks HTTP, but not this API."""
    text = f"is no model endpoint: it {what}. Check OPENAI_BASE_URL, which mostly ends with /v1."
    return UnusableAnswer(text, can_help=False)


def _joined(literals: list[bytes]) -> str:
    """The JSON texts in a row as one; nothing where one of them is no text."""
    try:
        texts = orjson.loads(b"[" + b",".join(literals) + b"]")
        return "".join(texts) if len(texts) == len(literals) and all(texts) else ""
    except (orjson.JSONDecodeError, TypeError):
        return ""


def _shape_of(block: bytes) -> tuple[TextShape, str] | None:
    data = fields_of(block)[1]
    try:
        event = orjson.loads(data or b"null")
    except orjson.JSONDecodeError:
        return None
    return text_shape(event) if isinstance(event, dict) else None
