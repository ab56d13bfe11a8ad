"""Token counts, which come on each chunk, twice, as texts or with a fraction."""

import math
from typing import Any

JSON = dict[str, Any]

_NAMES = {
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
    "input_tokens": "prompt_tokens",  # Anthropic's names, through gateways
    "output_tokens": "completion_tokens",
}
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")


def usage_of(event: JSON) -> JSON | None:
    """The counts of one chunk, as integers; None where it has none that can be understood."""
    found = event.get("usage")
    if not found and isinstance(event.get("x_groq"), dict):
        found = event["x_groq"].get("usage")
    if not found and isinstance(choices := event.get("choices"), list) and choices:  # Kimi
        found = choices[0].get("usage") if isinstance(choices[0], dict) else None
    if not isinstance(found, dict):
        return None
    counts: JSON = {}
    for name, regular in _NAMES.items():
        if (count := _count(found.get(name))) is not None:
            counts.setdefault(regular, count)
    if not counts:
        return None
    counts.setdefault("prompt_tokens", 0)
    counts.setdefault("completion_tokens", 0)
    counts.setdefault("total_tokens", counts["prompt_tokens"] + counts["completion_tokens"])
    for name in _DETAILS:
        if isinstance(found.get(name), dict):
            details = {key: _count(value) for key, value in found[name].items()}
            counts[name] = {key: value for key, value in details.items() if value is not None}
    return counts


def _count(value: Any) -> int | None:
    """A whole number; OpenRouter and some gateways send fractions, others texts."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number >= 0 else None
