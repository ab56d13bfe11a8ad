"""The verdict on one stream. Pure: what was heard against what is true."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

from client import SteadyError
from client.events import JSON
from tests.faults.alignment import Difference, difference
from tests.faults.heard import Heard
from tests.faults.plan import NetFault
from tests.faults.scenarios import Scenario
from tests.faults.truth import Truth
from tests.model_script import Reply, tokens

Verdict = Literal[
    "complete",  # everything, once, in order
    "told",  # ended in the right typed error
    "lost or doubled",
    "silent end",
    "left standing",  # a text was shown that the thread does not hold
    "wrong error",
    "untyped error",
    "wrong result",
    "started twice",
    "hang",
]


@dataclass(frozen=True)
class Outcome:
    """How one scenario ended; `faults` are the network faults that were really done."""

    scenario: Scenario
    verdict: Verdict
    detail: str = ""
    lost: int = 0
    doubled: int = 0
    faults: tuple[NetFault, ...] = ()
    seconds: float = 0.0
    retries: int = 0

    @property
    def is_right(self) -> bool:
        return self.verdict in ("complete", "told")

    def __str__(self) -> str:
        told = f": {self.detail}" if self.detail else ""
        return f"seed {self.scenario.seed}: {self.verdict}{told} [{self.scenario}]"


def of_end(
    scenario: Scenario, heard: Heard, text: str, calls: list[object], truth: Truth
) -> Outcome:
    """The verdict on a stream that ended as if all were well. `text` and `calls` are its result."""
    outcome = Outcome(scenario, "complete", retries=heard.retries)
    if wrong := _untrue(scenario, truth):
        return replace(outcome, verdict="wrong result", detail=wrong)
    if scenario.must_fail:
        return replace(outcome, verdict="silent end", detail="the model's failure was not told")
    texts = _texts(scenario, heard.texts, text, truth)
    if (found := compare(texts)) != Difference():
        lost = found.lost + found.cut_off
        is_silent = not found.lost and not found.doubled
        verdict: Verdict = "silent end" if is_silent else "lost or doubled"
        told = f"{lost} lost, {found.doubled} doubled"
        return replace(outcome, verdict=verdict, detail=told, lost=lost, doubled=found.doubled)
    if text != "".join(scenario.replies[-1].text):
        return replace(outcome, verdict="wrong result", detail="text() is not the answer")
    if wrong := _misfits(scenario, heard, calls, truth):
        return replace(outcome, verdict="wrong result", detail=wrong)
    return outcome


Texts = list[tuple[tuple[str, ...], str]]


def compare(texts: Texts) -> Difference:
    """The sum of the differences of pairs of a truth's tokens and what was got of it."""
    return sum((difference(truth, got) for truth, got in texts), Difference())


def _texts(scenario: Scenario, heard: dict[str, str], text: str, truth: Truth) -> Texts:
    """Each message's tokens with what the reader has of it; in other modes the answer's alone."""
    said = [tokens(reply.text) for reply in scenario.replies]
    if "messages" not in scenario.modes:
        return [(said[-1], text)]
    got = [heard.get(at, "") for at in truth.messages]
    got[-1:] = ["".join([*got[-1:], *(heard[at] for at in heard if at not in truth.messages)])]
    return list(zip(said, got, strict=True))


def _untrue(scenario: Scenario, truth: Truth) -> str:
    """What is wrong at the server itself, whatever the reader was given."""
    if len(truth.runs) != 1 + scenario.approvals and not scenario.must_fail:
        return f"{len(truth.runs)} runs on the thread"
    if truth.runs[0] != ("error" if scenario.must_fail else "success"):
        return f"the run's status is {truth.runs[0]}"
    said = ["".join(reply.text) for reply in scenario.replies]
    if not scenario.must_fail and said != list(truth.messages.values()):
        return "the thread's state is not what the model said"
    return ""


def _misfits(scenario: Scenario, heard: Heard, calls: list[object], truth: Truth) -> str:
    """What is wrong with the result beside the texts."""
    if len(heard.done) != 1 or heard.after_done or heard.waits != scenario.approvals:
        return f"{len(heard.done)} Done, {heard.after_done} after it, {heard.waits} waits"
    if heard.done[0].status != "success":
        return f"Done says {heard.done[0].status}"
    if calls != list(truth.calls):
        return f"tool calls {calls} for {list(truth.calls)}"
    if "values" in scenario.modes and not _is_last(heard.values or {}, truth.state):
        return "the last Values is not the thread's state"
    return _misfit_events(scenario, heard, truth)


def _is_last(values: JSON, state: JSON) -> bool:
    """A graph may keep more in its state than it puts out; what both have is the same."""
    return "messages" in values and all(state.get(key) == values[key] for key in values)


def _misfit_events(scenario: Scenario, heard: Heard, truth: Truth) -> str:
    if "messages" in scenario.modes:
        told = [call.id for call in heard.calls]
        wanted = [call["id"] for call in truth.calls]
        if sorted(told if not heard.retries else set(told)) != sorted(wanted):
            return f"ToolCall events {told} for {wanted}"
        if sorted(heard.results) != sorted(wanted):
            return f"ToolResult events {list(heard.results)} for {wanted}"
        if not heard.retries and any(count > 1 for count in heard.results.values()):
            return f"ToolResult events come twice: {dict(heard.results)}"
    if "updates" in scenario.modes:
        made = [m["id"] for m in truth.state.get("messages") or () if m["type"] != "human"]
        made += truth.approved  # what approves a message's calls writes it again
        if sorted(heard.updates.elements()) != sorted(made):
            return f"Update events of {dict(heard.updates)} for {made}"
    if "events" in scenario.modes:
        said = {at: text for at, text in truth.messages.items() if text}
        told = {at: text for at, text in heard.chunks.items() if text}
        if said != told or heard.ends != Counter(list(truth.messages)):
            return "the Event events do not tell each message once"
    return ""


def of_error(scenario: Scenario, heard: Heard, error: SteadyError) -> Outcome:
    """The verdict on a stream that raised a typed error."""
    outcome = Outcome(scenario, "told", error.code, retries=heard.retries)
    if error.code not in scenario.allowed:
        told = f"{type(error).__name__}: {error.message}"
        return replace(outcome, verdict="wrong error", detail=told)
    if heard.started and not (error.run_id and error.thread_id):
        return replace(outcome, verdict="wrong error", detail=f"{error.code} names no run")
    if heard.done:
        return replace(outcome, verdict="wrong error", detail=f"{error.code} after Done")
    if not _is_prefix(scenario.replies, error.text):
        detail = f"{error.code} carries a text that the model did not begin with"
        return replace(outcome, verdict="wrong error", detail=detail)
    return _with_doubles(outcome, heard, scenario)


def _with_doubles(outcome: Outcome, heard: Heard, scenario: Scenario) -> Outcome:
    """What came before an error is judged too: nothing twice, and no gap."""
    said = [tokens(reply.text) for reply in scenario.replies]
    spoken = [words for words in said if words]
    found = compare(list(zip(spoken, heard.texts.values(), strict=False)))
    if not found.lost and not found.doubled:
        return outcome
    told = f"{found.lost} lost, {found.doubled} doubled before {outcome.detail}"
    return replace(
        outcome,
        verdict="lost or doubled",
        detail=told,
        lost=found.lost,
        doubled=found.doubled,
    )


def _is_prefix(replies: tuple[Reply, ...], text: str) -> bool:
    return any("".join(reply.text).startswith(text) for reply in replies)
