"""Whether a person's decisions fit the interrupt that waits for them. Pure.

The requests are those of LangChain's human-in-the-loop middleware: `action_requests`, and for each
tool a review config with its `allowed_decisions` and, where known, the tool's `args_schema`.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidRequest, NotFound
from ..events import JSON, Interrupt

_KINDS = ("approve", "edit", "reject", "respond")


def check_fit(state: JSON, interrupt_id: str, decisions: Sequence[Any]) -> None:
    """Checks a person's decisions against the interrupt that waits for them.

    Args:
        state: the thread's state; or any object with its `interrupts`, each with `id` and `value`.
        interrupt_id: the interrupt that is decided.
        decisions: one for each of its requests. Where the requests are none of LangChain's, any.

    Raises:
        NotFound: nothing waits under this id.
        InvalidRequest: a decision does not fit its request; the message says what to give instead.
    """
    requests = {interrupt.id: interrupt.requests for interrupt in waiting(state)}
    if interrupt_id not in requests:
        others = f"These wait: {', '.join(requests)}." if requests else "Nothing else waits."
        raise NotFound(
            f"Nothing waits on the thread under the id {interrupt_id!r}: it was decided already, "
            f"or never was. {others}"
        )
    request = requests[interrupt_id]
    if not isinstance(request, dict) or "action_requests" not in request:
        return
    actions = request["action_requests"]
    if len(decisions) != len(actions):
        raise InvalidRequest(
            f"Give one decision for each of the {len(actions)} requests, in order."
        )
    reviews = {review["action_name"]: review for review in request.get("review_configs") or ()}
    for number, (action, decision) in enumerate(zip(actions, decisions, strict=True), 1):
        _check_one(f"Decision {number}", action, reviews.get(action["name"]) or {}, decision)


def waiting(state: JSON) -> list[Interrupt]:
    """What waits for a person's decision in a thread's state."""
    interrupts = state.get("interrupts") or [
        interrupt for task in state.get("tasks") or () for interrupt in task.get("interrupts") or ()
    ]
    return [Interrupt(str(each.get("id")), each.get("value")) for each in interrupts]


def _check_one(name: str, action: JSON, review: JSON, decision: Any) -> None:
    kind = str(decision.get("type")) if isinstance(decision, dict) else ""
    allowed = review.get("allowed_decisions") or list(_KINDS)
    if kind not in allowed:
        raise InvalidRequest(f"{name} has the type {kind!r}: choose from {', '.join(allowed)}.")
    message = decision.get("message") or ""
    if not isinstance(message, str):
        raise InvalidRequest(f"{name}: `message` is a text.")
    if kind == "respond" and not message.strip():
        raise InvalidRequest(f"{name} responds: say what, in `message`.")
    if kind == "edit":
        _check_edit(name, action, review.get("args_schema"), decision.get("edited_action"))


def _check_edit(name: str, action: JSON, schema: JSON | None, edited: Any) -> None:
    if not isinstance(edited, dict) or not isinstance(edited.get("args"), dict):
        raise InvalidRequest(f"{name} edits: give `edited_action` with `name` and `args`.")
    if edited.get("name") != action["name"]:
        raise InvalidRequest(f"{name} edits {action['name']!r}: it cannot become another tool.")
    if schema is None:
        return
    try:
        import jsonschema_rs
    except ImportError:  # the client is installed alone; the server has it, and checks the same
        return
    for error in jsonschema_rs.iter_errors(schema, edited["args"]):
        path = ".".join(map(str, error.instance_path))
        raise InvalidRequest(f"{name}: the arguments do not fit: {path} {error.message}".strip())
