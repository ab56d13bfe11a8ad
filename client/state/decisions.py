"""Whether a person's decisions fit the interrupt that waits for them. Pure.

The requests are those of LangChain's human-in-the-loop middleware: `action_requests`, and for each
tool a review config with its `allowed_decisions` and, where known, the tool's `args_schema`.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidRequest, NotFound
from ..events import JSON, Interrupt

_FIELDS = {
    "approve": {"type"},
    "edit": {"type", "edited_action"},
    "reject": {"type", "message"},
    "respond": {"type", "message"},
}


def check_fit(state: JSON, interrupt_id: str, decisions: Sequence[Any]) -> None:
    """Raises NotFound or InvalidRequest, with what to do, if these cannot be the decisions."""
    requests = {found.id: found.requests for found in waiting(state)}
    if interrupt_id not in requests:
        told = f"These wait: {', '.join(requests)}." if requests else "Nothing else waits."
        raise NotFound(
            f"Nothing waits on the thread under the id {interrupt_id!r}: it was decided already, "
            f"or never was. {told}"
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
    """What waits for a person in a thread's state."""
    found = state.get("interrupts") or [
        interrupt for task in state.get("tasks") or () for interrupt in task.get("interrupts") or ()
    ]
    return [Interrupt(str(each.get("id")), each.get("value")) for each in found]


def _check_one(what: str, action: JSON, review: JSON, decision: Any) -> None:
    kind = str(decision.get("type")) if isinstance(decision, dict) else ""
    allowed = review.get("allowed_decisions") or list(_FIELDS)
    if kind not in allowed:
        raise InvalidRequest(f"{what} has the type {kind!r}: choose from {', '.join(allowed)}.")
    if unknown := decision.keys() - _FIELDS.get(kind, decision.keys()):
        raise InvalidRequest(f"{what} has fields that {kind!r} does not know: {sorted(unknown)}.")
    message = decision.get("message") or ""
    if not isinstance(message, str):
        raise InvalidRequest(f"{what}: `message` is a text.")
    if kind == "respond" and not message.strip():
        raise InvalidRequest(f"{what} responds: say what, in `message`.")
    if kind == "edit":
        _check_edit(what, action, review.get("args_schema"), decision.get("edited_action"))


def _check_edit(what: str, action: JSON, schema: JSON | None, edited: Any) -> None:
    if not isinstance(edited, dict) or not isinstance(edited.get("args"), dict):
        raise InvalidRequest(f"{what} edits: give `edited_action` with `name` and `args`.")
    if edited.get("name") != action["name"]:
        raise InvalidRequest(f"{what} edits {action['name']!r}: it cannot become another tool.")
    if schema is None:
        return
    try:
        import jsonschema_rs
    except ImportError:  # the client is installed alone; the server has it, and checks the same
        return
    for error in jsonschema_rs.iter_errors(schema, edited["args"]):
        place = ".".join(map(str, error.instance_path))
        raise InvalidRequest(f"{what}: the arguments do not fit: {place} {error.message}".strip())
