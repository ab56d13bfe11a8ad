"""A person's decisions are checked once, where the run that carries them out is made.

Whoever decides is answered at once, and what does not fit starts no run: over the chat routes, the
server's API, or in Studio.
"""

import re
from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from client.errors import NotFound, SteadyError
from client.state.decisions import check_fit, waiting

_INTERRUPT_ID = re.compile("[0-9a-f]{32}")


def resumes(command: Any) -> bool:
    """Whether a run's command answers what waits for a person."""
    return isinstance(command, Mapping) and command.get("resume") is not None


def answers_by_interrupt(answer: Any, state: dict[str, Any]) -> dict[str, Any]:
    """What a run is to go on with, by interrupt id; `state` is the thread's, as its API has it.

    One answer for all is bound to the one interrupt that waits, so that it can answer no later one.
    Raises HTTPException: 404 where nothing waits under an id, 422 where a decision does not fit.
    """
    interrupts = waiting(state)
    is_by_id = _is_by_id(answer)
    if not is_by_id and len(interrupts) != 1:
        if not interrupts:
            raise HTTPException(404, "Nothing waits for a decision on this thread.")
        ids = ", ".join(each.id for each in interrupts)
        raise HTTPException(422, f"Several requests wait: give an answer for each id, of {ids}.")
    answers: dict[str, Any] = answer if is_by_id else {interrupts[0].id: answer}
    for interrupt_id, given in answers.items():
        try:
            check_fit(state, interrupt_id, given)
        except SteadyError as error:
            status = 404 if isinstance(error, NotFound) else 422
            raise HTTPException(status, error.message) from error
    return answers


def _is_by_id(answer: Any) -> bool:
    """LangGraph tells by the form of the keys; decisions under any other key are for no request."""
    if not isinstance(answer, dict) or not answer:
        return False
    have_decisions = all(isinstance(each, dict) and "decisions" in each for each in answer.values())
    return have_decisions or all(map(_INTERRUPT_ID.fullmatch, answer))
