"""The two forms of the WebSocket chat: what a frame means, and how an event is written.

Without a subprotocol a connection has the plain form: text in, tokens out, `[DONE]` after each
turn. With `steady.v1` it has JSON: the frames of `agent.http.schemas` in; out, the events of the
one vocabulary, each with its `event_id`, and `{"type": "refused", "code", "message"}` for a frame
that is not taken.
"""

from itertools import chain
from typing import Protocol

import orjson
from pydantic import ValidationError

from agent.http.runs import check_utf8, encoded
from agent.http.schemas import FRAME, JSON, AnyFrame, first_error
from client import InvalidRequest
from client.events import FINISH_WORDS

PROTOCOL = "steady.v1"
DONE, ERROR, RETRY, NOTE = _CONTROLS = "[DONE]", "[ERROR]", "[RETRY]", "[NOTE]"


class Form(Protocol):
    """A form of the conversation."""

    def read(self, text: str) -> AnyFrame:
        """The frame that the text is. Raises InvalidRequest."""

    def write(self, event_id: str | None, event: JSON) -> list[str]:
        """The texts to send for the event. Raises RunFailed for what cannot be sent."""


class PlainForm:
    """Text in, tokens out, `[DONE]` after each turn; failures as `[ERROR] ...`.

    `[NOTE] ...` before `[DONE]` says why an answer is not whole.

    When the model is tried again, `[RETRY] ...` is sent, and then what still holds of the turn's
    text: whoever forgets the text at that line has it right in the end.
    """

    def __init__(self) -> None:
        self._texts: dict[str | None, list[str]] = {}  # of this turn, by message

    def read(self, text: str) -> AnyFrame:
        if not text.strip():
            raise InvalidRequest("The message is empty: say something.")
        return _parse({"type": "message", "message": text})

    def write(self, event_id: str | None, event: JSON) -> list[str]:
        match event:
            case {"type": "token", "content": content, "message_id": message_id}:
                check_utf8(content)
                self._texts.setdefault(message_id, []).append(content)
                return _as_text(content)
            case {"type": "retry", "message_id": message_id, "reason": reason}:
                if self._texts.pop(message_id, None):
                    remaining = "".join(chain.from_iterable(self._texts.values()))
                    return [f"{RETRY} {reason}", *(_as_text(remaining) if remaining else ())]
            case {"type": "error" | "refused", "message": message}:
                return [f"{ERROR} {message}"]
            case {"type": "interrupt"}:
                return [f"{ERROR} A person has to decide before this goes on: use {PROTOCOL}."]
            case {"type": "done"}:
                self._texts.clear()
                words = FINISH_WORDS.get(event.get("finish_reason") or "")
                return [*([f"{NOTE} The answer was {words}."] if words else ()), DONE]
        return []


def _as_text(content: str) -> list[str]:
    """Splits text that begins like a control line, such as `[DONE]`."""
    return [content[:1], content[1:]] if content.startswith(_CONTROLS) else [content]


class JsonForm:
    """The subprotocol `steady.v1`."""

    def read(self, text: str) -> AnyFrame:
        try:
            return _parse(orjson.loads(text))
        except orjson.JSONDecodeError as error:
            raise InvalidRequest(f"The frame is not JSON: {error}.") from error

    def write(self, event_id: str | None, event: JSON) -> list[str]:
        with_id = {**event, "event_id": event_id} if event_id else event
        return [encoded(with_id).decode()]


def _parse(frame: object) -> AnyFrame:
    try:
        return FRAME.validate_python(frame)
    except ValidationError as error:
        raise InvalidRequest(first_error(error.errors())) from error
