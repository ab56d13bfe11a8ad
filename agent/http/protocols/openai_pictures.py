"""Pictures in messages of OpenAI's protocol, as LangChain's content blocks. Pure."""

import re
from collections.abc import Mapping
from typing import Any

JSON = dict[str, Any]
KINDS = ("image_url", "input_image")  # of a chat, and of a response
_DATA = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/]+={0,2})")


def picture(part: Mapping[str, Any]) -> JSON:
    """The content block of a part. Raises ValueError: it is none that is taken."""
    given = part.get("image_url")
    fields: Mapping[str, Any] = given if isinstance(given, Mapping) else {"url": given}
    options = {**part, **fields}
    address = fields.get("url")
    if options.get("detail") not in (None, "auto"):
        raise ValueError("a picture's `detail` is the model's choice")
    if not isinstance(address, str):
        raise ValueError("a picture is given as `image_url`: an https address, or a data URL")
    if data := _DATA.fullmatch(address):
        return {"type": "image", "base64": data[2], "mime_type": data[1]}
    if re.match("https?://", address):
        return {"type": "image", "url": address}
    raise ValueError("a picture is an https address, or base64 data of a PNG, JPEG, GIF or WebP")
