r"""The server's JSON encoder keeps the text `\u0000`: a backslash, the letter u and four zeros.

langgraph-api 0.16.7 replaces NUL characters by U+FFFD in the JSON it has written, and takes the six
characters for one. NUL itself is still replaced. All other text is encoded by the server as before.
"""

import re
import sys
from typing import Any

import orjson

_SIX = rb"\\u0000"  # the six characters, in JSON
_PERHAPS_REWRITTEN = rb"\\ufffd"
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def keep_null_escapes(module: Any) -> bool:
    """Patches `langgraph_api.serde`, and the modules that have imported its encoder already."""
    encode = getattr(module, "json_dumpb", None)
    if not callable(encode) or not {"default", "_option", "_sanitise"} <= vars(module).keys():
        return False
    if _SIX in encode(r"\u0000"):
        return False

    def encode_exactly(obj: Any) -> bytes:
        encoded: bytes = encode(obj)
        if _PERHAPS_REWRITTEN not in encoded:
            return encoded
        try:
            plain = orjson.dumps(obj, default=module.default, option=module._option)
        except TypeError:  # lone surrogates
            obj = module._sanitise(obj)
            plain = orjson.dumps(obj, default=module.default, option=module._option)
        return _NUL.sub(rb"\1\\ufffd", plain)

    for name, loaded in list(sys.modules.items()):
        if name.startswith("langgraph_") and getattr(loaded, "json_dumpb", None) is encode:
            loaded.json_dumpb = encode_exactly  # type: ignore[attr-defined]
    module.json_dumpb = encode_exactly
    return True
