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


def ask_person(console: Console, interrupt: Interrupt, shown: Sequence[JSON] = ()) -> Any:
    """What the person answers, as the graph takes it.

    `shown` are the calls, as `{"name", "args"}`, that the person has before their eyes.
    """
    request = interrupt.requests
    if not isinstance(request, dict):
        return _free_answer(console, interrupt)
    if request.get("type") == "tool_approval":
        allowed = _kinds_in(interrupt.response_schema)
        return _decision(console, request, _is_shown(request, shown), allowed)
    if not request.get("action_requests"):
        return _free_answer(console, interrupt)
    reviews = {review["action_name"]: review for review in request.get("review_configs") or ()}
    return {
        "decisions": [
            _decision(
                console,
                action,
                _is_shown(action, shown),
                reviews.get(action["name"], {}).get("allowed_decisions") or list(_LABELS),
            )
            for action in request["action_requests"]
        ]
    }


def what_waits(interrupt: Interrupt) -> str:
    """What an interrupt asks for, in one line: the tools' names, or the graph's own words."""
    request = interrupt.requests
    actions = request.get("action_requests") if isinstance(request, dict) else None
    if actions:
        return ", ".join(str(action["name"]) for action in actions)
    if isinstance(request, dict) and request.get("type") == "tool_approval":
        return str(request.get("name"))
    return request if isinstance(request, str) else json.dumps(request, ensure_ascii=False)


def is_about_tools(interrupt: Interrupt) -> bool:
    """Whether LangChain asks for decisions about tool calls."""
    request = interrupt.requests
    return isinstance(request, dict) and (
        bool(request.get("action_requests")) or request.get("type") == "tool_approval"
    )


def _is_shown(action: JSON, shown: Sequence[JSON]) -> bool:
    return {"name": action["name"], "args": action["args"]} in shown


def _kinds_in(schema: JSON | None) -> list[str]:
    """The kinds of decisions that the schema of a decision allows."""
    text = json.dumps(schema or {})
    return [kind for kind in _LABELS if f'"{kind}"' in text] or list(_LABELS)


def _free_answer(console: Console, interrupt: Interrupt) -> Any:
    """A graph's own question: JSON where the answer is JSON, else the text as it is."""
    console.print("[yellow]the run waits for your answer:[/]")
    write_line(what_waits(interrupt), console)
    schema = interrupt.response_schema
    if schema is not None:
        write_line(f"as JSON: {json.dumps(schema, ensure_ascii=False)}", console, "dim")
    text = console.input("? ")
    return text if (schema or {}).get("type") == "string" else _read(text, None)


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
        return "" if before is None else before
    if isinstance(before, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
