"""Asking a person in the terminal what to do with the requests of an interrupt."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from ..events import JSON, Interrupt
from .output import write_line

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


def ask_person(console: Console, interrupt: Interrupt, shown: Sequence[JSON] = ()) -> list[JSON]:
    """One decision for each of the requests, in their order.

    `shown` are the calls, as `{"name", "args"}`, that the person has before their eyes.
    """
    request = interrupt.requests
    reviews = {review["action_name"]: review for review in request.get("review_configs") or ()}
    return [
        _decision(
            console,
            action,
            {"name": action["name"], "args": action["args"]} in shown,
            reviews.get(action["name"], {}).get("allowed_decisions") or list(_LABELS),
        )
        for action in request["action_requests"]
    ]


def _decision(console: Console, action: JSON, is_shown: bool, allowed: list[str]) -> JSON:
    name = escape(str(action["name"]))
    console.print(f"[yellow]{name}[/] waits for your decision{'' if is_shown else ':'}")
    if not is_shown:
        write_line(json.dumps(action["args"], ensure_ascii=False, indent=2), console)
    choices = {key: kind for key, kind in _KEYS.items() if kind in allowed}
    labels = ", ".join(_LABELS[kind] for kind in choices.values())
    while (key := console.input(f"{labels}? ").strip().lower()[:1]) not in choices:
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
    edited: JSON = {}
    for name, value in args.items():
        shown = escape(f"{name} [{json.dumps(value, ensure_ascii=False)}]: ")
        edited[name] = _read(console.input(shown), value)
    return edited


def _read(text: str, before: Any) -> Any:
    if not text:
        return before
    if isinstance(before, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
