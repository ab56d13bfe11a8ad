"""What a decoder knows of the parts it has read, in few bytes: another one goes on from there.

It is part of every event's id, so it has digests in place of ids and texts.
"""

import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Self

from ..errors import SteadyError
from ..events import Usage

MOST_MESSAGES = 12
_HEAD, _MESSAGE = struct.Struct(">BBII"), struct.Struct(">IIB")
_REASONS = (None, "stop", "length", "content_filter", "refusal", "tool_calls")


class CannotResume(Exception):
    """What follows needs more of the run than a snapshot holds: read it from its beginning.

    `failure` is how the run failed, if it did.
    """

    def __init__(self, failure: SteadyError | None = None) -> None:
        super().__init__()
        self.failure = failure


class Stage(IntEnum):
    """How far a message is: the model writes it, or it is whole, or it is no part of the answer."""

    BEGUN, WHOLE, SEEN = range(3)


class Known(NamedTuple):
    """One message: its stage, and the digest of the text that went out."""

    digest: int
    stage: Stage


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A decoder between two parts; `messages` by the keys of their ids.

    `attempt` is 0 where the run had not begun.
    """

    attempt: int
    finish_reason: str | None
    usage: Usage
    messages: dict[int, Known]

    def text(self) -> str | None:
        """As text of letters, digits, `-` and `_`. None where a number is too large for it."""
        reason, usage = _REASONS.index(self.finish_reason), self.usage
        try:
            head = _HEAD.pack(self.attempt, reason, usage.input_tokens, usage.output_tokens)
        except struct.error:
            return None
        messages = [_MESSAGE.pack(key, *known) for key, known in self.messages.items()]
        return urlsafe_b64encode(b"".join([head, *messages])).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Reads what `text` gave; None if it is anything else."""
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            attempt, reason, *usage = _HEAD.unpack_from(raw)
            messages = {
                key: Known(digest, Stage(stage))
                for key, digest, stage in _MESSAGE.iter_unpack(raw[_HEAD.size :])
            }
            return cls(attempt, _REASONS[reason], Usage(*usage), messages)
        except (ValueError, IndexError, struct.error):
            return None


def key_of(message_id: str) -> int:
    """What stands for a message's id in a snapshot."""
    return zlib.crc32(message_id.encode(errors="surrogatepass"))
