"""Where a thread continues for a caller who sends the whole conversation each time.

What the user said is compared, not the answers: the thread's own have more in them (tool calls,
what a stopped answer kept). A question that is asked again, or edited, continues on a branch from
before it; what came after stays in the thread's history.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from client import AgentClient, InvalidRequest, text_of
from client.client import HISTORY_DEPTHS
from client.state.branches import branch, messages_of

JSON = dict[str, Any]


class Continuation(NamedTuple):
    """A checkpoint (None: the thread's latest), and the messages that it does not have."""

    checkpoint_id: str | None
    messages: Sequence[JSON]


async def continuation(
    agent: AgentClient, thread_id: str, messages: Sequence[JSON]
) -> Continuation:
    """Where the thread continues with a conversation whose last message is a new question.

    Raises:
        NotFound: there is no such thread.
        InvalidRequest: the thread has too much history to look for where the conversation left it.
    """
    held = await agent.threads.messages(thread_id)
    if (rest := _rest(held, messages)) is not None:
        return Continuation(None, rest)
    for checkpoints in HISTORY_DEPTHS:
        states: list[JSON] = [
            dict(each) for each in await agent.threads.history(thread_id, limit=checkpoints)
        ]
        for state in branch(states):
            if (rest := _rest(messages_of(state), messages)) is not None:
                return Continuation(str(state["checkpoint"]["checkpoint_id"]), rest)
        if len(states) < checkpoints:
            return Continuation(str(states[-1]["checkpoint"]["checkpoint_id"]), messages)
    raise InvalidRequest("This conversation is too far from its thread: begin another thread.")


def _rest(held: Sequence[JSON], messages: Sequence[JSON]) -> Sequence[JSON] | None:
    """The messages after those that are held; None where others are held, or all."""
    said = [_said(message) for message in held if message.get("type") == "human"]
    places = [at for at, message in enumerate(messages) if message["role"] == "user"]
    asked = [_said(messages[at]) for at in places]
    is_beginning = len(said) < len(asked) and asked[: len(said)] == said
    return messages[places[len(said)] :] if is_beginning else None


def _said(message: JSON) -> tuple[str, list[JSON]]:
    """What a person said: the text, and the pictures."""
    content = message["content"]
    blocks = [] if isinstance(content, str) else [b for b in content if b.get("type") != "text"]
    return text_of(message), [{k: v for k, v in block.items() if k != "id"} for block in blocks]
