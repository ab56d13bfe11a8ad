"""What a run was asked for: a reader must know it to tell a whole stream from one cut short. Pure.

Who starts a run knows; who joins it, perhaps in another process, reads it from the run.
"""

from dataclasses import dataclass
from typing import Any, Self

from ..events import JSON

_MODES, _SINCE = "steady_modes", "steady_since"
_USUAL = frozenset({"messages-tuple", "custom"})


@dataclass(frozen=True, slots=True)
class Asked:
    """`modes` are stream modes by the server's names. `since` is the id of the message after which
    the run's own stand in the thread; None where it is not known."""

    modes: frozenset[str] = _USUAL
    since: str | None = None

    @property
    def tells_tokens(self) -> bool:
        return "messages-tuple" in self.modes

    @property
    def tells_state(self) -> bool:
        """Whether every message of the run comes by in its stream, whoever made it."""
        return not self.modes.isdisjoint({"values", "updates", "events"})

    def notes(self, body: JSON) -> JSON:
        """The metadata for whoever joins: what not every server tells of a run with this body.

        Each checkpoint of the run holds it, so the usual is not noted.
        """
        noted: JSON = {} if self.modes == _USUAL else {_MODES: ",".join(sorted(self.modes))}
        if self.since and _question_in(body.get("input")) is None:
            noted[_SINCE] = self.since
        return noted

    @classmethod
    def of(cls, run: JSON) -> Self:
        """Read from a run, whoever started it."""
        kwargs, noted = run.get("kwargs") or {}, metadata_of(run)
        told = kwargs.get("stream_mode") or str(noted.get(_MODES) or "").split(",")
        modes = frozenset([told] if isinstance(told, str) else filter(None, told))
        question = _question_in(kwargs.get("input") or run.get("input"))
        return cls(modes or _USUAL, noted.get(_SINCE) or question)


def metadata_of(run: JSON) -> JSON:
    """Not every server tells a run's metadata; all tell its config."""
    of_config: JSON = (run.get("config") or {}).get("metadata") or {}
    return {**of_config, **(run.get("metadata") or {})}


def _question_in(given: Any) -> str | None:
    messages = given.get("messages") if isinstance(given, dict) else None
    last = messages[-1] if isinstance(messages, list) and messages else None
    found = last.get("id") if isinstance(last, dict) else None
    return str(found) if found else None
