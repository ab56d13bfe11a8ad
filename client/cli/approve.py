"""Asking a person in the terminal what to do with the requests of an interrupt."""

import json
from typing import Any

from rich.console import Console

from ..events import JSON, Interrupt

_KEYS = {"a": "approve", "e": "edit", "r": "reject", "s": "respond"}
_LABELS = {
    "approve": "[bold]a[/]pprove",
    "edit": "[bold]e[/]dit",
    "reject": "[bold]r[/]eject",
    "respond": "[bold]s[/]ay the result",
}


def can_be_asked(interrupt: Interrupt) -> bool:
    """Whether it has requests of LangChain's human-in-the-loop middleware."""
    return isinstance(interrupt.requests, dict) and bool(interrupt.requests.get("action_requests"))


def ask_person(console: Console, interrupt: Interrupt) -> list[JSON]:
    """One decision for each of the requests, in their order."""
    request = interrupt.requests
    reviews = {review["action_name"]: review for review in request.get("review_configs") or ()}
    return [
        _decided(
            console,
            action,
            reviews.get(action["name"], {}).get("allowed_decisions") or list(_LABELS),
        )
        for action in request["action_requests"]
    ]


def _decided(console: Console, action: JSON, allowed: list[str]) -> JSON:
    console.print(f"[yellow]{action['name']}[/] wants to run with")
    console.print_json(json.dumps(action["args"]))
    choices = {key: kind for key, kind in _KEYS.items() if kind in allowed}
    words = ", ".join(_LABELS[kind] for kind in choices.values())
    while (key := console.input(f"{words}? ").strip().lower()[:1]) not in choices:
        pass
    match choices[key]:
        case "edit":
            edited = {"name": action["name"], "args": _edited(console, action["args"])}
            return {"type": "edit", "edited_action": edited}
        case "reject":
            reason = console.input("Why (may be empty)? ").strip()
            return {"type": "reject", **({"message": reason} if reason else {})}
        case "respond":
            return {"type": "respond", "message": console.input("What is the result? ")}
    return {"type": "approve"}


def _edited(console: Console, args: JSON) -> JSON:
    """Each argument anew; an empty line keeps it as it was."""
    made: JSON = {}
    for name, value in args.items():
        shown = json.dumps(value, ensure_ascii=False)
        made[name] = _read(console.input(f"{name} \\[{shown}]: "), value)
    return made


def _read(text: str, before: Any) -> Any:
    if not text:
        return before
    if isinstance(before, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
