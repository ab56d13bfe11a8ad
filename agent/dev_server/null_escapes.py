r"""The server's JSON encoder keeps the text `\u0000`: a backslash, the letter u and four zeros.

langgraph-api replaces NUL characters by U+FFFD in the JSON it has written, and takes the six
characters for one. NUL itself is still replaced. All other text is encoded by the server as before.
"""

import functools
import re
import sys
from typing import Any

import orjson

from agent.dev_server.patch import Patch, Shape

_PERHAPS_REWRITTEN = rb"\\ufffd"
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def _apply(serde: Any) -> None:
    encode = serde.json_dumpb

    @functools.wraps(encode)
    def encode_exactly(obj: Any) -> bytes:
        encoded: bytes = encode(obj)
        if _PERHAPS_REWRITTEN not in encoded:
            return encoded
        try:
            plain = orjson.dumps(obj, default=serde.default, option=serde._option)
        except TypeError:  # lone surrogates
            obj = serde._sanitise(obj)
            plain = orjson.dumps(obj, default=serde.default, option=serde._option)
        return _NUL.sub(rb"\1\\ufffd", plain)

    for name, loaded in list(sys.modules.items()):  # those that have imported it already
        if name.startswith("langgraph_") and getattr(loaded, "json_dumpb", None) is encode:
            loaded.json_dumpb = encode_exactly  # type: ignore[attr-defined]
    serde.json_dumpb = encode_exactly


NULL_ESCAPES = Patch(
    name=r"the text \u0000 is kept",
    module="langgraph_api.serde",
    replaces={
        "json_dumpb": Shape(
            "obj",
            r'return dumped.replace(rb"\\u0000", rb"\\ufffd").replace(rb"\u0000", rb"\ufffd")',
        )
    },
    needs=("default", "_option", "_sanitise"),
    apply=_apply,
    loss=r"the text \u0000 is changed to U+FFFD in answers, questions and state",
)
