"""Branches of a thread: the checkpoint before a message, or before an answer. Pure."""

from collections.abc import Iterator, Sequence

from ..errors import InvalidRequest, NotFound
from ..events import JSON
from .decisions import waiting

History = Sequence[JSON]


def branch(history: History) -> Iterator[JSON]:
    """The checkpoints that led to the thread's present state, newest first; no other branches."""
    by_id = {_id(state["checkpoint"]): state for state in history}
    state = history[0] if history else None
    while state is not None:
        yield state
        parent = state.get("parent_checkpoint")
        state = by_id.get(_id(parent)) if parent else None


def before_message(history: History, message_id: str) -> JSON:
    """The state before a message was added to the thread.

    Raises:
        NotFound: the thread has no such message.
        InvalidRequest: the message is older than the history.
    """
    is_found = False
    for state in branch(history):
        if has_message(state, message_id):
            is_found = True
        elif is_found:
            return state
    if is_found:
        raise InvalidRequest("The message is further back than this looks: give a checkpoint.")
    raise NotFound(f"The thread has no message with the id {message_id!r}.")


def before_answer(history: History) -> JSON:
    """The state where the last question waits for its answer.

    Raises:
        InvalidRequest: the history has no such state.
    """
    for state in branch(history):
        messages = messages_of(state)
        if messages and messages[-1].get("type") == "human" and state.get("next"):
            return state
    raise InvalidRequest("The thread has no answer that could be given again.")


def is_unfinished(state: JSON) -> bool:
    """Whether a run was left in the middle: a step is due or half done, and no person decides."""
    return bool(state.get("next") or state.get("tasks")) and not waiting(state)


def check_unfinished(state: JSON) -> None:
    """Raises InvalidRequest, with what to do instead, if there is no run to continue."""
    if waiting(state):
        raise InvalidRequest("The thread waits for a person's decision: decide, and it continues.")
    if not is_unfinished(state):
        raise InvalidRequest("There is nothing to continue: the thread's last run had ended.")


def last_message_id(state: JSON) -> str | None:
    """The id of the state's last message; None where there is none."""
    messages = messages_of(state)
    return str(messages[-1].get("id")) if messages else None


def has_message(state: JSON, message_id: str | None) -> bool:
    """Whether the state holds the message."""
    return any(message.get("id") == message_id for message in messages_of(state))


def _id(checkpoint: JSON) -> str:
    return str(checkpoint["checkpoint_id"])


def messages_of(state: JSON) -> list[JSON]:
    """The messages of a thread's state."""
    values = state.get("values")
    return list(values.get("messages") or ()) if isinstance(values, dict) else []
