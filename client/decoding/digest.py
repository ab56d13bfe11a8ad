"""Digests of texts: whether a text that was read is the same as another needs no text. Pure."""

import zlib

from ..events import JSON
from .messages import text_of

_DIGEST = "digest"  # of a message, in the outline of a state


def digest_of(text: str, before: int = 0) -> int:
    """The digest of a text, which goes on where one with the digest `before` ended. Empty: 0."""
    return zlib.crc32(text.encode(errors="surrogatepass"), before)


def digest_in(message: JSON) -> int:
    """The digest of a message's text, of a state or of its outline."""
    return int(message[_DIGEST]) if _DIGEST in message else digest_of(text_of(message))
