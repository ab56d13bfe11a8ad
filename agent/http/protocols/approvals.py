"""Approvals in protocols that ask for one call at a time: the requests of an interrupt. Pure."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from client import Interrupt, InvalidRequest

JSON = dict[str, Any]
_PREFIX = "mcpr_"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the agent's tools; `arguments` are JSON text."""

    tool: str
    arguments: str
    approval_id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person says to one request; `reason` is for the model, where he refuses."""

    approval_id: str
    approve: bool
    reason: str | None = None

    @property
    def decision(self) -> JSON:
        """As LangChain's human-in-the-loop middleware takes it."""
        if self.approve:
            return {"type": "approve"}
        return {"type": "reject", **({"message": self.reason} if self.reason else {})}


def approval_requests(interrupt: Interrupt) -> Iterator[tuple[str, Call]]:
    """Each call that waits, with the id under which it is answered; none where no call waits."""
    requests = interrupt.requests if isinstance(interrupt.requests, dict) else {}
    actions = [requests] if requests.get("type") == "tool_approval" else None
    for number, action in enumerate(actions or requests.get("action_requests") or ()):
        approval_id = f"{_PREFIX}{interrupt.id}_{number}"
        arguments = json.dumps(action.get("args") or {}, ensure_ascii=False)
        yield approval_id, Call(str(action.get("name")), arguments, approval_id)


def answers_for(interrupts: Sequence[Interrupt], answers: Sequence[Answer]) -> JSON:
    """The answers as the server takes them: by interrupt id.

    Raises InvalidRequest: an answer is to no request that waits, or a request has none.
    """
    given = {answer.approval_id: answer for answer in answers}
    asked = {each.id: [at for at, _ in approval_requests(each)] for each in interrupts}
    known = [approval_id for ids in asked.values() for approval_id in ids]
    for approval_id in given:
        if approval_id not in known:
            raise InvalidRequest(
                f"Nothing waits under the id {approval_id!r}: it was answered already, or never "
                "asked. " + (f"These wait: {', '.join(known)}." if known else "Nothing waits.")
            )
    resume: JSON = {}
    for interrupt in interrupts:
        ids = asked[interrupt.id]
        if not any(approval_id in given for approval_id in ids):
            continue
        if missing := [approval_id for approval_id in ids if approval_id not in given]:
            raise InvalidRequest(f"Answer these in the same request: {', '.join(missing)}.")
        decisions = [given[approval_id].decision for approval_id in ids]
        is_batch = "action_requests" in interrupt.requests
        resume[interrupt.id] = {"decisions": decisions} if is_batch else decisions[0]
    return resume
