"""Keys are taken out of what an endpoint says: in full, and in the short forms it quotes."""

import re
from collections.abc import Iterable
from functools import partial

REDACTED = "[key]"

_SHORTEST_KEY = 8  # shorter ones are words such as `none` or `ollama`
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=*-]{3,}", re.IGNORECASE)
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|xai|nvapi|hf|AIza)[-_]?[\w-]{12,}")
_SHORTENED = re.compile(r"([\w-]*)(?:\.{2,}|…|\*{2,}|•{2,}|x{4,}|X{4,})([\w-]*)")


def redacted(text: str, keys: Iterable[str] = ()) -> str:
    """The text without `keys`, without their beginnings and ends around dots or stars, and without
    anything else that looks like a key or a bearer token."""
    for key in keys:
        if len(key) >= _SHORTEST_KEY:
            text = text.replace(key, REDACTED)
            text = _SHORTENED.sub(partial(_without, key=key), text)
    text = _BEARER.sub(rf"\1 {REDACTED}", text)
    text = _LOOKS_LIKE_A_KEY.sub(REDACTED, text)
    return _SHORTENED.sub(_without, text)


def _without(found: re.Match[str], key: str = "sk-") -> str:
    begin, end = found.groups()
    is_of_it = (len(begin) > 1 and (key.startswith(begin) or begin.startswith("sk-"))) or (
        len(end) > 1 and key.endswith(end)
    )
    return REDACTED if is_of_it else found.group()


def redact_exception(error: BaseException, keys: Iterable[str]) -> None:
    """Redacts an exception and those that led to it, in place: a log writes them all."""
    keys, seen = list(keys), set[int]()
    pending: list[BaseException | None] = [error]
    while pending:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        part.args = tuple(redacted(arg, keys) if isinstance(arg, str) else arg for arg in part.args)
        for name in ("message", "body"):
            value = getattr(part, name, None)
            if isinstance(value, str | dict | list):
                setattr(part, name, _redacted_value(value, keys))
        pending += [part.__cause__, part.__context__]


def _redacted_value(value: object, keys: list[str]) -> object:
    if isinstance(value, str):
        return redacted(value, keys)
    if isinstance(value, dict):
        return {name: _redacted_value(part, keys) for name, part in value.items()}
    if isinstance(value, list):
        return [_redacted_value(part, keys) for part in value]
    return value
