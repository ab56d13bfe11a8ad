"""The one exception of an answer that cannot be used, and the words of endpoints for it."""

import re
from typing import Any

JSON = dict[str, Any]

_WORDS = ("message", "error", "errors", "detail", "msg", "error_description", "error_msg", "reason")
_NESTED = ("base_resp", "status_msg")  # MiniMax
_LONGEST_WORDS = 300
_CANNOT_HELP = re.compile(
    r"40[0-4]|413|422|quota|billing|balance|credit|payment|api.?key|authenticat|permission"
    r"|context.?length|not.?found|content.?filter|invalid.?request|policy",
    re.IGNORECASE,
)


class UnusableAnswer(Exception):
    """What the endpoint sent cannot be used; the message goes on after the endpoint's name.

    `can_help`: whether asking again, or asking another model, may give an answer.
    `is_hint`: nothing failed; the same call will be read rightly now, and costs no try.
    """

    def __init__(self, message: str, *, can_help: bool = True, is_hint: bool = False) -> None:
        super().__init__(message)
        self.can_help = can_help
        self.is_hint = is_hint


def unreadable() -> UnusableAnswer:
    """Of anything that is no JSON, or not of the kinds that an answer is made of."""
    return UnusableAnswer("sent something that cannot be read: try again.")


def broken_off() -> UnusableAnswer:
    """Of an answer that ended without telling that it was complete."""
    return UnusableAnswer("broke off in the middle of its answer: try again.")


def raise_error_of(event: Any, name: str = "") -> None:
    """Raises UnusableAnswer where an event of a stream tells of a failure, in the words it has.

    OpenAI sends {"error": {"message"}}; vLLM {"object": "error", "message"}; gateways a string, a
    list, {"detail"} (FastAPI), {"code", "msg"}, {"base_resp"} (MiniMax) or `event: error`.
    """
    if isinstance(event, dict):
        is_chunk = isinstance(event.get("choices"), list) and event["choices"]
        status = event.get("base_resp")
        status = status if isinstance(status, dict) else {}
        error = event.get("error") or event.get("errors")
        says_nothing = is_chunk and not (words_of(error) or _kind(error).strip())
        if (error and not says_nothing) or status.get("status_code"):
            pass
        elif (
            is_chunk
            or isinstance(event.get("choices"), list)
            or not (
                name == "error"
                or "error" in (event.get("object"), event.get("type"), event.get("status"))
                or (("choices" not in event or event["choices"] is None) and words_of(event))
            )
        ):
            return
    elif not (name == "error" or isinstance(event, list)):
        return
    words = words_of(event)
    if not words and isinstance(event, list):
        return
    told = words or "an error without a message"
    raise UnusableAnswer(
        f"reported an error: {told}", can_help=not _CANNOT_HELP.search(f"{_kind(event)} {words}")
    )


def words_of(body: Any) -> str:
    """The message of an error in any of its forms, on one line, at most 300 characters."""
    if isinstance(body, str):
        text = " ".join(body.split())
        return "" if text.startswith("<") else text[:_LONGEST_WORDS]
    if isinstance(body, list):
        return "; ".join(filter(None, map(words_of, body)))[:_LONGEST_WORDS]
    if isinstance(body, dict):
        for key in (*_WORDS, *_NESTED):
            if words := words_of(body.get(key)):
                return words
    return ""


def _kind(body: Any) -> str:
    """Codes and types, which tell whether another try can help."""
    if isinstance(body, list):
        return " ".join(map(_kind, body))
    if not isinstance(body, dict):
        return ""
    codes = [str(body[key]) for key in ("code", "status", "status_code") if body.get(key)]
    if any(code.startswith("5") for code in codes):
        return ""
    return " ".join([*codes, *(_kind(body.get(key)) for key in ("error", "base_resp"))])
