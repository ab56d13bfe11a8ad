"""Going back in a thread: which checkpoint stands before a message, or before an answer. Pure."""

from collections.abc import Iterator, Sequence

from ..errors import InvalidRequest, NotFound
from ..events import JSON
from .decisions import waiting

History = Sequence[JSON]


def branch(history: History) -> Iterator[JSON]:
    """The checkpoints that led to the thread's present state, newest first; no other branches."""
    known = {_id(state["checkpoint"]): state for state in history}
    at = history[0] if history else None
    while at is not None:
        yield at
        parent = at.get("parent_checkpoint")
        at = known.get(_id(parent)) if parent else None


def before_message(history: History, message_id: str) -> JSON:
    """The state from which a message can be said anew. Raises NotFound or InvalidRequest."""
    found: JSON | None = None
    for state in branch(history):
        message = next((m for m in _messages(state) if m.get("id") == message_id), None)
        if message is None and found is not None:
            return state
        found = message or found
    if found is not None:
        raise InvalidRequest("The message is further back than this looks: give a checkpoint.")
    raise NotFound(f"The thread has no message with the id {message_id!r}.")


def before_answer(history: History) -> JSON:
    """The state where the last question waits for its answer. Raises InvalidRequest."""
    for state in branch(history):
        messages = _messages(state)
        if messages and messages[-1].get("type") == "human" and state.get("next"):
            return state
    raise InvalidRequest("The thread has no answer that could be given anew.")


def is_unfinished(state: JSON) -> bool:
    """Whether a run was left in the middle: a step is due, or half done, and waits for nobody."""
    return bool(state.get("next") or state.get("tasks")) and not waiting(state)


def check_unfinished(state: JSON) -> None:
    """Raises InvalidRequest, with what to do instead, if there is nothing to go on with."""
    if waiting(state):
        raise InvalidRequest("The thread waits for a person's decision: decide, and it goes on.")
    if not is_unfinished(state):
        raise InvalidRequest("There is nothing to go on with: the thread's last run had ended.")


def last_message_id(state: JSON) -> str | None:
    """The id of the state's last message; None where there is none."""
    messages = _messages(state)
    return str(messages[-1].get("id")) if messages else None


def has_message(state: JSON, message_id: str | None) -> bool:
    """Whether the state holds the message."""
    return any(message.get("id") == message_id for message in _messages(state))


def _id(checkpoint: JSON) -> str:
    return str(checkpoint["checkpoint_id"])


def _messages(state: JSON) -> list[JSON]:
    values = state.get("values")
    return list(values.get("messages") or ()) if isinstance(values, dict) else []
