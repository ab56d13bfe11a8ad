"""Whether a person's decisions fit the interrupt that waits for them. Pure.

The requests are those of LangChain's human-in-the-loop middleware: `action_requests`, and for each
tool a review config with its `allowed_decisions` and, where known, the tool's `args_schema`.
"""

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidRequest, NotFound
from ..events import JSON, Interrupt

_KINDS = ("approve", "edit", "reject", "respond")


def answer_of(interrupt: Interrupt | None, decisions: Sequence[Any]) -> Any:
    """What a person's decisions about an interrupt are to the graph.

    LangChain asks about all calls of a message at once, or about each by itself.
    """
    request = interrupt.requests if interrupt else None
    is_of_one_call = isinstance(request, dict) and request.get("type") == "tool_approval"
    if is_of_one_call and len(decisions) == 1:
        return decisions[0]
    return {"decisions": list(decisions)}


def check_fit(state: JSON, interrupt_id: str, answer: Any) -> None:
    """Checks an answer against the interrupt that waits for it.

    Args:
        state: the thread's state; or any object with its `interrupts`, each with `id` and `value`.
        interrupt_id: the interrupt that is answered.
        answer: what the graph is to go on with. For requests of LangChain's an object with its
            `decisions`, one for each; for others what their `response_schema` takes, or anything.

    Raises:
        NotFound: nothing waits under this id.
        InvalidRequest: the answer does not fit; the message says what to give instead.
    """
    interrupts = {interrupt.id: interrupt for interrupt in waiting(state)}
    if interrupt_id not in interrupts:
        others = f"These wait: {', '.join(interrupts)}." if interrupts else "Nothing else waits."
        raise NotFound(
            f"Nothing waits on the thread under the id {interrupt_id!r}: it was decided already, "
            f"or never was. {others}"
        )
    interrupt = interrupts[interrupt_id]
    request = interrupt.requests
    if not isinstance(request, dict) or "action_requests" not in request:
        _check_schema("The answer does not fit", interrupt.response_schema, answer)
        return
    given = answer.get("decisions") if isinstance(answer, dict) else None
    decisions = given if isinstance(given, list) else []
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
    return [
        Interrupt(str(each.get("id")), each.get("value"), each.get("response_schema"))
        for each in interrupts
    ]


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
    _check_schema(f"{name}: the arguments do not fit", schema, edited["args"])


def _check_schema(trouble: str, schema: JSON | None, value: Any) -> None:
    if schema is None:
        return
    try:
        import jsonschema_rs
    except ImportError:  # the client is installed alone; the server has it, and checks the same
        return
    for error in jsonschema_rs.iter_errors(schema, value):
        path = ".".join(map(str, error.instance_path))
        raise InvalidRequest(f"{trouble}: {path} {error.message}".strip())
